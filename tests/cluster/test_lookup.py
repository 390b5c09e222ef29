import pytest

from csi_model.cluster.lookup import lookup_in
from csi_model.errors import RecordPending, StoreUnusable
from tests.contracts.registry_contract import record
from tests.fakes.registry import MemoryRegistry


@pytest.fixture
def registry():
    return MemoryRegistry()


def test_a_record_is_found(registry):
    registry.put(record())
    assert lookup_in(registry.get)("m-1") == record()


def test_a_record_that_is_not_there_is_waited_for(registry):
    with pytest.raises(RecordPending, match=r"volume 'm-1' has no ModelVolume s-.* events of the claim") as caught:
        lookup_in(registry.get)("m-1")
    assert caught.value.transient


def test_a_registry_that_fails_is_no_missing_record(registry):
    registry.fail_with = StoreUnusable("gone")
    with pytest.raises(StoreUnusable, match="gone"):
        lookup_in(registry.get)("m-1")
