"""The real store and the fake are the same to the transfer and to the warm-ups."""

from contextlib import closing

import pytest

from csi_model.settings import StoreSettings
from csi_model.store.base import StagingStore
from csi_model.store.store import Store
from tests.contracts.store_contract import StoreContract
from tests.fakes.store import MemoryStore


class TestStore(StoreContract):
    @pytest.fixture
    def store(self, disk):
        with closing(Store(StoreSettings(disk / "store"))) as store:
            yield store


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return MemoryStore(tmp_path)


def test_both_have_every_method_of_the_contract():
    wanted = {name for name in vars(StagingStore) if not name.startswith("_")}
    assert wanted <= set(dir(Store))
    assert wanted <= set(dir(MemoryStore))
