"""The registry against the real API server and the chart's CustomResourceDefinition.

The same contract as the file registry's; ids are kept apart from those of the other tests' volumes, which may be in
the cluster at the same time.
"""

from collections.abc import Iterator, Sequence

import pytest

from csi_model.cluster.api import Api, connect
from csi_model.cluster.model_volume import MAX_MANIFEST, PATH, name_of
from csi_model.cluster.model_volumes import ModelVolumes
from csi_model.core.volume import Claim, VolumeRecord
from csi_model.errors import StoreUnusable
from tests.cluster.manifests import manifest_of
from tests.contracts.registry_contract import RegistryContract, record


class Alone(ModelVolumes):
    """A registry that has nothing but what was put by it."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._others = set(super().ids())

    def ids(self, *, after: str = "", limit: int | None = None) -> Sequence[str]:
        return [volume_id for volume_id in super().ids(after=after) if volume_id not in self._others][:limit]


@pytest.fixture(scope="module")
def api(cluster, driver) -> Iterator[Api]:
    """Connect as an administrator; the driver's chart brings the CustomResourceDefinition."""
    api = connect(cluster.kubeconfig)
    yield api
    api.close()


@pytest.fixture
def registry(api: Api) -> Iterator[Alone]:
    registry = Alone(api)
    yield registry
    for volume_id in registry.ids():
        registry.delete(volume_id)


class TestRegistry(RegistryContract):
    """The contract."""


def change(api: Api, **spec: object) -> None:
    api.merge_patch(f"{PATH}/{name_of('m-1')}", {"spec": spec})


@pytest.mark.parametrize(
    "spec",
    [
        {"volumeHandle": "m-2"}, {"volumeName": "x"}, {"source": "s3://other/x"}, {"revision": "0" * 64}, {"bytes": 1},
        {"files": 7}, {"size": "1 B"}, {"capacityBytes": 1}, {"context": {"source": "s3://a/b"}}, {"fromClaim": False},
        {"capabilities": []}, {"manifest": "AAAA"},
    ],
)  # fmt: skip
def test_what_a_volume_is_never_changes(registry: Alone, api: Api, spec: dict[str, object]) -> None:
    registry.put(record())
    with pytest.raises(StoreUnusable, match="immutable"):
        change(api, **spec)
    assert registry.get("m-1") == record()


def test_whose_claim_it_is_may_change(registry: Alone) -> None:
    registry.put(record())
    for claim in (Claim("team", "b", "u"), Claim("team", "c"), None):
        registry.claimed("m-1", claim)
        assert registry.get("m-1") == record(claim=claim)


def test_what_the_schema_does_not_know_is_refused(api: Api) -> None:
    with pytest.raises(StoreUnusable):
        api.create(PATH, {"apiVersion": "csi-model.io/v1alpha1", "kind": "ModelVolume", "metadata": {"name": "odd"}})


@pytest.fixture
def largest() -> VolumeRecord:
    """Make a record whose manifest is just below the limit."""
    return record(manifest=manifest_of(MAX_MANIFEST))


def test_the_largest_manifest_fits(registry: Alone, largest: VolumeRecord) -> None:
    registry.put(largest)
    assert registry.get("m-1") == largest
