import pytest

from csi_model.cluster.errors import ApiExpired
from csi_model.cluster.model_volume import name_of
from csi_model.core.placement import Wants
from csi_model.core.volume import Claim
from csi_model.errors import CapacityExceeded, StoreUnusable
from tests.cluster.pvs import RECORDS
from tests.contracts.registry_contract import RegistryContract, record


class TestModelVolumes(RegistryContract):
    """The contract; the fixture is conftest's."""


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.setattr("csi_model.cluster.model_volumes._PAGE", 2)


def fill(registry, count=5):
    for number in range(count):
        registry.put(record(f"m-{number}"))
    return [f"m-{number}" for number in range(count)]


def test_a_long_list_comes_in_pages(server, registry, pages):
    assert fill(registry) == registry.ids()
    assert server.requests.count(("list", RECORDS)) == 3


def test_a_list_that_expires_is_begun_anew(server, registry, pages):
    ids, page = fill(registry), server.objects.page

    def expiring(*arguments):
        answer = page(*arguments)
        server.objects.page = page
        server.objects.compact()
        return answer

    server.objects.page = expiring
    assert registry.ids() == ids


def test_a_list_that_always_expires_is_given_up(server, registry):
    server.failures = [410] * 3
    with pytest.raises(ApiExpired):
        registry.ids()


def test_an_object_of_somebody_else_is_left_out_of_the_list(server, registry, caplog):
    ids = fill(registry, 2)
    server.create(RECORDS, {"metadata": {"name": "stranger"}})
    assert registry.ids() == ids
    assert "stranger" in caplog.text


def test_a_damaged_object_says_what_mends_it(server, registry):
    fill(registry, 1)
    server.patch(f"{RECORDS}/{name_of('m-0')}", {"spec": {"manifest": "AAAA"}})
    with pytest.raises(StoreUnusable, match=r"ModelVolume s-\S+ of volume 'm-0' can't be used: .* When it is deleted"):
        registry.get("m-0")


def test_a_manifest_that_is_too_large_is_refused_before_anything_is_asked(server, registry, monkeypatch):
    monkeypatch.setattr("csi_model.cluster.model_volume.MAX_MANIFEST", 10)
    with pytest.raises(CapacityExceeded, match="room for 10"):
        registry.put(record())
    assert server.requests == []


def test_no_custom_resource_definition_is_no_empty_registry(server, registry):
    server.unknown = {"modelvolumes"}
    for call in (lambda: registry.get("m-1"), registry.ids, lambda: registry.put(record())):
        with pytest.raises(StoreUnusable, match="404"):
            call()


def test_a_change_of_what_is_wanted_is_one_request_and_touches_nothing_else(server, registry):
    registry.put(record("m-1"))
    path = f"{RECORDS}/{name_of('m-1')}"
    before, asked = server.all(RECORDS)[0]["spec"], len(server.requests)
    registry.modify("m-1", Wants(7))
    assert server.requests[asked:] == [("patch", path)]
    assert server.all(RECORDS)[0]["spec"] == {**before, "wants": {"replicas": "7", "nodeSelector": "", "pin": False}}


def test_a_change_that_may_not_be_made_is_no_missing_volume(server, registry):
    registry.put(record("m-1"))
    server.denied = {("patch", "modelvolumes")}
    with pytest.raises(StoreUnusable, match="'patch'"):
        registry.modify("m-1", Wants(7))


def test_whose_claim_it_is_is_written_down(registry):
    registry.put(record(claim=None))
    for claim in (Claim("a", "b", "u"), Claim("a", "c"), None):
        registry.claimed("m-1", claim)
        assert registry.get("m-1").claim == claim


@pytest.mark.parametrize("volume_id", ["m-" + "0" * 40, "a volume of somebody's own"])
def test_a_record_is_found_by_the_name_of_its_object(registry, volume_id):
    registry.put(record(volume_id))
    assert registry.named(name_of(volume_id)) == registry.get(volume_id)
    assert registry.named("s-gone") is None


def test_an_object_that_is_not_what_its_name_says_is_none(server, registry):
    registry.put(record("some volume"))
    name = name_of("some volume")
    server.patch(f"{RECORDS}/{name}", {"metadata": {"annotations": None}})
    with pytest.raises(StoreUnusable, match="isn't what its name says"):
        registry.named(name)
