import pytest

from csi_model.core import treehash
from csi_model.settings import StoreSettings
from csi_model.store.store import Store
from tests.transfer.bringing import SMALL_CHUNK


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks so small that a file of many is quick to make. The rules ask treehash, so this is the one place."""
    monkeypatch.setattr(treehash, "CHUNK", SMALL_CHUNK)


@pytest.fixture
def store(tmp_path):
    opened = Store(StoreSettings(tmp_path / "store", high_watermark=1.0, low_watermark=1.0))
    yield opened
    opened.close()
