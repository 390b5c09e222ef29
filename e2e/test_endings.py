"""However a volume ends, its pods go away quickly, nothing is left on the node, and the next pod starts."""

import secrets
import time
from collections.abc import Iterator

import pytest

from e2e import object_store as stores
from e2e.agents import mounts_of, running_container, volume_of, wait_nothing_left
from e2e.driver import Driver
from e2e.kube import Kube, Object, claim, namespace, with_claim
from e2e.object_store import Model, ObjectStore
from e2e.reports import nonce
from e2e.slow_way import SlowWay
from e2e.volumes import named_after_models, reads_exactly

MIB = 1024 * 1024
NODE = "node2"
NAME, PORT = "endings", 9004
TINY = {"weights": 8 * MIB, "config.json": 700}
LARGE = {f"weights-{number:02}": 4 * MIB for number in range(20)}
RATE, TRICKLE = 16 * MIB, MIB / 4  # bytes per second: until three quarters are sent, and then
IN_FLIGHT = 32 * MIB  # eight streams with a file each
QUICKLY = 20.0  # seconds for a pod to be gone; it is about one on an idle machine
UNBOUND = 180.0  # seconds for a volume to be gone after its last user


@pytest.fixture(scope="module")
def opened(object_store: ObjectStore) -> Iterator[SlowWay]:
    with stores.way(NAME, PORT) as found:
        yield found


@pytest.fixture
def way(opened: SlowWay) -> Iterator[SlowWay]:
    """Yield the way to the store, which is whole again after each test."""
    yield opened
    opened.slow(None)


@pytest.fixture(scope="module")
def kube(driver: Driver, object_store: ObjectStore, opened: SlowWay) -> Iterator[Kube]:
    """Yield a namespace; claims of its class are named after their models."""
    with named_after_models(driver.kube, object_store, NAME, opened.endpoint) as inside:
        yield inside


def put(store: ObjectStore, sizes: dict[str, int]) -> Model:
    """Put a model that no node has seen."""
    return store.put_model(NAME, f"model-{nonce()}", sizes, seed=secrets.randbits(32))


def started(kube: Kube, model: Model, name: str = "") -> Object:
    """Make a pod, by default of the model's name, and its claim, and return it once it is Ready."""
    kube.apply(claim(model.prefix, NAME), with_claim(name or model.prefix, model.prefix, node=NODE))
    return kube.pod_ready(name or model.prefix, 120)


def wait_volume_gone(kube: Kube, volume: str, volume_id: str) -> None:
    kube.wait_for(
        lambda: not kube.get("pv", volume) and not kube.get("modelvolume", volume_id),
        UNBOUND,
        lambda: f"{volume} is gone. {kube.story('pv', volume)}",
    )


def test_a_pod_deleted_while_staging_goes_quickly_and_the_next_goes_on_where_it_stopped(
    kube: Kube, object_store: ObjectStore, way: SlowWay
) -> None:
    model, before = put(object_store, LARGE), way.passed().bytes
    way.slow(RATE)
    kube.apply(claim(model.prefix, NAME), with_claim("first", model.prefix, node=NODE))
    way.wait_passed(before + model.size * 3 // 4)
    way.slow(TRICKLE)
    first, begun = kube.get("pod", "first"), time.monotonic()
    assert not running_container(first), "it was to be staged still"
    kube.delete("pod", "first")
    assert time.monotonic() - begun < QUICKLY
    assert first
    wait_nothing_left(kube, NODE, first, volume_of(kube, model.prefix)[1])
    way.slow(None)
    kube.apply(with_claim("second", model.prefix, node=NODE))
    kube.pod_ready("second", 120)
    assert reads_exactly(kube, "second", model)
    assert way.passed().bytes - before <= model.size + IN_FLIGHT


def test_a_used_claim_stays_until_its_pod_ends(kube: Kube, object_store: ObjectStore) -> None:
    model = put(object_store, TINY)
    user = started(kube, model)
    volume, volume_id = volume_of(kube, model.prefix)
    kube.kubectl("delete", "pvc", model.prefix, "--wait=false")
    assert kube.get("pvc", model.prefix)
    assert reads_exactly(kube, model.prefix, model)
    assert kube.get("modelvolume", volume_id)
    kube.delete("pod", model.prefix)
    wait_volume_gone(kube, volume, volume_id)
    wait_nothing_left(kube, NODE, user, volume_id)


def test_a_node_ends_what_it_has_staged_after_the_volume_is_gone(kube: Kube, object_store: ObjectStore) -> None:
    model = put(object_store, TINY)
    user = started(kube, model)
    volume, volume_id = volume_of(kube, model.prefix)
    node = kube.cluster.node(NODE)
    node.stop_kubelet()  # so that the node can't be asked, as if it were cut off
    try:
        kube.kubectl("delete", "pod", model.prefix, "--force", "--grace-period=0")
        kube.delete("pvc", model.prefix)
        wait_volume_gone(kube, volume, volume_id)
        assert mounts_of(kube, NODE, user)
    finally:
        node.start_kubelet()
    wait_nothing_left(kube, NODE, user, volume_id)


def test_a_namespace_goes_with_all_its_pods_and_claims(driver: Driver, kube: Kube, object_store: ObjectStore) -> None:
    model = put(object_store, TINY)
    with namespace(driver.kube, f"endings-doomed-{nonce()}") as doomed:
        users = [started(doomed, model, name) for name in ("one", "two")]
        volume, volume_id = volume_of(doomed, model.prefix)
        kube.delete("namespace", doomed.namespace, timeout=180)
        wait_volume_gone(kube, volume, volume_id)
        for user in users:
            wait_nothing_left(kube, NODE, user, volume_id)


def test_without_the_object_store_a_staged_model_starts_pods_and_ends(
    kube: Kube, object_store: ObjectStore, way: SlowWay
) -> None:
    model = put(object_store, TINY)
    users = [started(kube, model)]
    volume_id = volume_of(kube, model.prefix)[1]
    way.break_()
    users.append(started(kube, model, "published-offline"))
    for user in users:
        assert reads_exactly(kube, user["metadata"]["name"], model)
        kube.delete("pod", user["metadata"]["name"])
    wait_nothing_left(kube, NODE, users[0], volume_id)
    last = started(kube, model, "staged-offline")
    assert reads_exactly(kube, "staged-offline", model)
    kube.delete("pod", "staged-offline")
    for user in (users[1], last):
        wait_nothing_left(kube, NODE, user, volume_id)
