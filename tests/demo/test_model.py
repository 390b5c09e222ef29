import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from csi_model.demo.model import SHARDS, Model, make_model, revise
from csi_model.demo.reader import Wrong, read_all

SIZE = 14_000_000


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return make_model(tmp_path / "model", SIZE)


def test_it_has_about_the_size_that_was_asked_for(model: Model) -> None:
    assert abs(model.size - SIZE) < SIZE / 5


def test_it_is_the_same_each_time(model: Model, tmp_path: Path) -> None:
    assert make_model(tmp_path / "again", SIZE).expected == model.expected


def test_the_index_names_the_shard_of_every_tensor(model: Model) -> None:
    index = json.loads((model.directory / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == {name: shard for shard, names in model.expected.items() for name in names}


def test_weights_are_finite(model: Model) -> None:
    shard = model.directory / next(iter(model.expected))
    assert all(np.isfinite(tensor).all() for tensor in load_file(shard).values())


def test_a_new_revision_changes_one_shard(model: Model) -> None:
    before = {path: path.read_bytes() for path in model.files}
    path, newer = revise(model)
    assert [file for file in model.files if file.read_bytes() != before[file]] == [path]
    assert len(newer.expected) == SHARDS
    assert newer.expected[path.name].keys() == model.expected[path.name].keys()


def test_the_reader_compares_every_tensor(model: Model) -> None:
    found = read_all(model.directory, model.expected)
    assert found["bytes"] == model.size
    assert found["compared"] == found["tensors"] == sum(len(names) for names in model.expected.values())


def test_the_reader_finds_a_flipped_bit(model: Model) -> None:
    shard = model.directory / next(iter(model.expected))
    with shard.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(Wrong, match="has other values"):
        read_all(model.directory, model.expected)


def test_the_reader_misses_a_shard(model: Model) -> None:
    name = next(iter(model.expected))
    (model.directory / name).unlink()
    with pytest.raises(Wrong, match=f"{name} is not there"):
        read_all(model.directory, model.expected)


def test_a_model_of_ones_own_is_read_whole_and_its_tensors_counted(model: Model) -> None:
    found = read_all(model.directory, None)
    assert (found["bytes"], found["compared"]) == (model.size, 0)
    assert found["tensors"] == sum(len(names) for names in model.expected.values())


def test_what_is_called_safetensors_and_is_none_is_found(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"no header")
    with pytest.raises(Wrong, match="not a sound safetensors file"):
        read_all(tmp_path, None)
