"""However a volume ends, its pods go away quickly, nothing is left on the node, and the next pod starts."""

import secrets
import time
from collections.abc import Iterator

import pytest

from e2e.agents import mounts_of, progress, volume_of, wait_nothing_left
from e2e.driver import Driver
from e2e.kube import Kube, Object, claim, namespace, with_claim
from e2e.object_store import Model, ObjectStore
from e2e.reports import nonce
from e2e.volumes import fetched, reads_exactly, storage_class

MIB = 1024 * 1024
NODE = "node2"
BUCKET = "endings"
TINY = {"weights": 8 * MIB, "config.json": 700}
LARGE = {f"weights-{number:02}": 4 * MIB for number in range(20)}
RATE, TRICKLE = 20 * MIB, MIB / 4  # bytes per second
IN_FLIGHT = 32 * MIB  # eight streams with a file each
QUICKLY = 20.0  # seconds for a pod to be gone; it is about one on an idle machine
UNBOUND = 60.0  # seconds for a volume to be gone after its last user


@pytest.fixture(scope="module")
def models(driver: Driver, object_store: ObjectStore) -> Iterator[Kube]:
    """Yield a namespace; claims of its class are named after their models, whose source can be slowed and broken."""
    object_store.bucket(BUCKET)
    object_store.publish(BUCKET)
    slow = ObjectStore.slow_endpoint
    driver.kube.apply(storage_class(BUCKET, f"s3://{BUCKET}/${{pvc.name}}", endpoint=slow))
    with namespace(driver.kube, f"{BUCKET}-{nonce()}") as inside:
        yield inside


def put(store: ObjectStore, sizes: dict[str, int]) -> Model:
    """Put a model that no node has seen."""
    return store.put_model(BUCKET, f"model-{nonce()}", sizes, seed=secrets.randbits(32))


def started(kube: Kube, model: Model, name: str = "") -> Object:
    """Make a pod, by default of the model's name, and its claim, and return it once it is Ready."""
    kube.apply(claim(model.prefix, BUCKET), with_claim(name or model.prefix, model.prefix, node=NODE))
    return kube.pod_ready(name or model.prefix, 120)


def wait_volume_gone(kube: Kube, volume: str, volume_id: str) -> None:
    kube.wait_for(
        lambda: not kube.get("pv", volume) and not kube.get("modelvolume", volume_id),
        UNBOUND,
        lambda: f"{volume} is gone. {kube.story('pv', volume)}",
    )


def test_a_pod_deleted_while_staging_goes_quickly_and_the_next_goes_on_where_it_stopped(
    models: Kube, object_store: ObjectStore
) -> None:
    model, before = put(object_store, LARGE), fetched(models, NODE)

    def half() -> bool:
        found = progress(models, NODE, model)
        return bool(found and found["present_bytes"] > model.size // 2)

    object_store.slow(RATE)
    try:
        models.apply(claim(model.prefix, BUCKET), with_claim("first", model.prefix, node=NODE))
        models.wait_for(half, 90, lambda: f"half of it is there. {models.story('pod', 'first')}")
        object_store.slow(TRICKLE)
        first = models.get("pod", "first")
        begun = time.monotonic()
        models.delete("pod", "first")
        assert time.monotonic() - begun < QUICKLY
        assert first
        wait_nothing_left(models, NODE, first, volume_of(models, model.prefix)[1])
    finally:
        object_store.slow(None)
    models.apply(with_claim("second", model.prefix, node=NODE))
    models.pod_ready("second", 120)
    assert reads_exactly(models, "second", model)
    assert fetched(models, NODE) - before <= model.size + IN_FLIGHT


def test_a_used_claim_stays_until_its_pod_ends(models: Kube, object_store: ObjectStore) -> None:
    model = put(object_store, TINY)
    user = started(models, model)
    volume, volume_id = volume_of(models, model.prefix)
    models.kubectl("delete", "pvc", model.prefix, "--wait=false")
    assert models.get("pvc", model.prefix)
    assert reads_exactly(models, model.prefix, model)
    assert models.get("modelvolume", volume_id)
    models.delete("pod", model.prefix)
    wait_volume_gone(models, volume, volume_id)
    wait_nothing_left(models, NODE, user, volume_id)


def test_a_node_ends_what_it_has_staged_after_the_volume_is_gone(models: Kube, object_store: ObjectStore) -> None:
    model = put(object_store, TINY)
    user = started(models, model)
    volume, volume_id = volume_of(models, model.prefix)
    node = models.cluster.node(NODE)
    node.stop_kubelet()  # so that the node can't be asked, as if it were cut off
    try:
        models.kubectl("delete", "pod", model.prefix, "--force", "--grace-period=0")
        models.delete("pvc", model.prefix)
        wait_volume_gone(models, volume, volume_id)
        assert mounts_of(models, NODE, user)
    finally:
        node.start_kubelet()
    wait_nothing_left(models, NODE, user, volume_id)


def test_a_namespace_goes_with_all_its_pods_and_claims(driver: Driver, models: Kube, object_store: ObjectStore) -> None:
    model = put(object_store, TINY)
    with namespace(driver.kube, f"endings-doomed-{nonce()}") as doomed:
        users = [started(doomed, model, name) for name in ("one", "two")]
        volume, volume_id = volume_of(doomed, model.prefix)
        models.delete("namespace", doomed.namespace, timeout=90)
        wait_volume_gone(models, volume, volume_id)
        for user in users:
            wait_nothing_left(models, NODE, user, volume_id)


def test_without_the_object_store_a_staged_model_starts_pods_and_ends(models: Kube, object_store: ObjectStore) -> None:
    model = put(object_store, TINY)
    first = started(models, model)
    volume_id = volume_of(models, model.prefix)[1]
    object_store.break_slow()
    try:
        second = started(models, model, "offline")
        assert reads_exactly(models, "offline", model)
        for pod in (first, second):
            models.delete("pod", pod["metadata"]["name"])
            models.wait_for(lambda pod=pod: not mounts_of(models, NODE, pod), 60, "it is unpublished")
        wait_nothing_left(models, NODE, second, volume_id)
        third = started(models, model, "offline-again")  # staged anew: the copy is still here
        assert reads_exactly(models, "offline-again", model)
        models.delete("pod", "offline-again")
        wait_nothing_left(models, NODE, third, volume_id)
    finally:
        object_store.slow(None)
