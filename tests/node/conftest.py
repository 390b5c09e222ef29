import pytest

from csi_model.core import treehash
from tests.node.warming import Bench
from tests.transfer.bringing import SMALL_CHUNK


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(treehash, "CHUNK", SMALL_CHUNK)


@pytest.fixture
def bench(tmp_path, small_chunks):
    made = Bench(tmp_path / "store")
    yield made
    made.close()


@pytest.fixture
def hasty(tmp_path, small_chunks):
    """A bench whose warm-ups stop as soon as nobody wants them."""
    made = Bench(tmp_path / "store", grace=0.0)
    yield made
    made.close()
