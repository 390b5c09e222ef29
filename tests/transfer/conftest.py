import pytest

from csi_model.core import treehash
from csi_model.settings import StoreSettings
from csi_model.store.store import Store
from csi_model.transfer import arrival, stragglers, transfer
from tests.fakes.clock import Clock
from tests.transfer.bringing import SMALL_BLOCK, SMALL_CHUNK


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks so small that a file of many is quick to make, and blocks that are smaller still, as in real life."""
    monkeypatch.setattr(treehash, "CHUNK", SMALL_CHUNK)
    for module in (arrival, transfer):
        monkeypatch.setattr(module, "BLOCK", SMALL_BLOCK)


@pytest.fixture(autouse=True)
def patience_with_stalls(monkeypatch):
    """However long a test lets a read wait, it isn't cut off for that."""
    monkeypatch.setattr(stragglers, "WINDOW", float("inf"))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path):
    opened = Store(StoreSettings(tmp_path / "store", high_watermark=1.0, low_watermark=1.0))
    yield opened
    opened.close()
