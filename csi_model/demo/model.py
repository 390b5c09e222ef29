"""A model to show: safetensors shards with an index, a config and tokenizer files, in the shape of a Llama.

The tensors are random but always the same for the same size and seed. What every tensor holds is written down beside
the model, so that a reader can tell whether it got the right bytes.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from safetensors.numpy import save_file

SHARDS = 4
_VOCABULARY = 8192
_BYTES = 2  # float16
_WIDE, _NARROW = 1024, 256  # hidden size of models from 128 MB on, and below
_SMALL = 128_000_000
_FINITE = 0xBFFF  # clears the top bit of a float16's exponent: random bits, but neither infinite nor NaN


@dataclass(frozen=True, slots=True)
class Model:
    """A model in a directory.

    Attributes:
        directory: its files.
        expected: file path → tensor name → BLAKE3 of its bytes, for the safetensors files.

    """

    directory: Path
    expected: dict[str, dict[str, str]]

    @property
    def files(self) -> list[Path]:
        """Its files, in order."""
        return sorted(self.directory.iterdir())

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.files)


def make_model(directory: Path, size: int) -> Model:
    """Make a model of about ``size`` bytes in a new directory."""
    directory.mkdir()
    hidden = _WIDE if size >= _SMALL else _NARROW
    embedding = _VOCABULARY * hidden * _BYTES
    layers = max(SHARDS, round((size - embedding) / (_layer_parameters(hidden) * _BYTES)))
    expected: dict[str, dict[str, str]] = {}
    places: dict[str, str] = {}
    for number, shapes in enumerate(_shards(hidden, layers)):
        name = _shard_name(number)
        expected[name] = _write_shard(directory / name, shapes, seed=number)
        places |= dict.fromkeys(shapes, name)
    total = sum((directory / name).stat().st_size for name in expected)
    _write_json(directory / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": places})
    _write_json(directory / "config.json", _config(hidden, layers))
    _write_json(directory / "tokenizer.json", _tokenizer())
    _write_json(directory / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<0>"})
    return Model(directory, expected)


def revise(model: Model) -> tuple[Path, Model]:
    """Train on, as it were: write one shard anew.

    Returns:
        The file that changed, and the model as it is now.

    """
    name = _shard_name(SHARDS - 1)
    config = json.loads((model.directory / "config.json").read_text())
    shapes = list(_shards(config["hidden_size"], config["num_hidden_layers"]))[-1]
    changed = _write_shard(model.directory / name, shapes, seed=1000)
    return model.directory / name, Model(model.directory, {**model.expected, name: changed})


def _shards(hidden: int, layers: int) -> Iterator[dict[str, tuple[int, ...]]]:
    """Yield the tensors' shapes by name, shard by shard."""
    for number in range(SHARDS):
        shapes: dict[str, tuple[int, ...]] = {}
        if number == 0:
            shapes["model.embed_tokens.weight"] = (_VOCABULARY, hidden)
        for layer in range(layers * number // SHARDS, layers * (number + 1) // SHARDS):
            for name, shape in _layer(hidden).items():
                shapes[f"model.layers.{layer}.{name}.weight"] = shape
        if number == SHARDS - 1:
            shapes["model.norm.weight"] = (hidden,)
        yield shapes


def _layer(hidden: int) -> dict[str, tuple[int, ...]]:
    attention = {f"self_attn.{part}_proj": (hidden, hidden) for part in "qkvo"}
    perceptron = {"mlp.gate_proj": (4 * hidden, hidden), "mlp.up_proj": (4 * hidden, hidden)}
    return {**attention, **perceptron, "mlp.down_proj": (hidden, 4 * hidden), "input_layernorm": (hidden,)}


def _layer_parameters(hidden: int) -> int:
    return sum(int(np.prod(shape)) for shape in _layer(hidden).values())


def _write_shard(path: Path, shapes: dict[str, tuple[int, ...]], *, seed: int) -> dict[str, str]:
    random = np.random.default_rng(seed)
    tensors = {name: _tensor(random, shape) for name, shape in shapes.items()}
    save_file(tensors, path, metadata={"format": "pt"})
    return {name: digest_of_tensor(tensor) for name, tensor in tensors.items()}


def _tensor(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float16]:
    words = random.integers(0, 2**64, size=int(np.prod(shape)) * _BYTES // 8, dtype=np.uint64)
    halves = words.view(np.uint16)
    halves &= _FINITE
    return halves.view(np.float16).reshape(shape)


def digest_of_tensor(tensor: NDArray[Any]) -> str:
    """Return what a tensor holds, in 64 hex digits."""
    return blake3(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data).hexdigest()


def _shard_name(number: int) -> str:
    return f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"


def _config(hidden: int, layers: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16",
        "hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64, "vocab_size": _VOCABULARY, "tie_word_embeddings": True,
    }  # fmt: skip


def _tokenizer() -> dict[str, Any]:
    vocabulary = {f"<{number}>": number for number in range(_VOCABULARY)}
    return {"version": "1.0", "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<0>"}}


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1))
