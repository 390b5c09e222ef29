"""A StorageClass, a claim and a pod: what users write, and what they get."""

from collections.abc import Iterator

import pytest

from e2e.driver import Driver
from e2e.kube import Kube, claim, namespace, pod, with_claim
from e2e.object_store import Model, ObjectStore
from e2e.volumes import RELEASE_NAMESPACE, fetched, inline_volume, reads_exactly, secret, static_volume, storage_class

MIB = 1024 * 1024
SIZES = {"model-1.safetensors": 40 * MIB + 5, "model-2.safetensors": 17 * MIB, "config.json": 700, "empty": 0}
BUCKET = "claims"


@pytest.fixture(scope="module")
def kube(driver: Driver, object_store: ObjectStore) -> Iterator[Kube]:
    """Give a namespace, a class whose claims are named after their models, and its Secret."""
    for bucket in (BUCKET, "inline"):
        object_store.bucket(bucket)
    key = secret("claims-reader", object_store.reader("claims-reader", BUCKET, "inline"))
    driver.kube.apply(key)
    place = (RELEASE_NAMESPACE, "claims-reader")
    driver.kube.apply(
        storage_class("claims", "s3://claims/${pvc.name}", secret=place),
        storage_class("claims-later", "s3://claims/tiny", secret=place, volumeBindingMode="WaitForFirstConsumer"),
    )
    with namespace(driver.kube, "claims") as inside:
        inside.apply(key)
        yield inside


@pytest.fixture(scope="module")
def tiny(object_store: ObjectStore) -> Model:
    return object_store.put_model(BUCKET, "tiny", SIZES)


@pytest.fixture(scope="module")
def shared(kube: Kube, tiny: Model) -> str:
    """Give a claim that several tests mount."""
    kube.apply(claim("tiny", "claims"))
    return "tiny"


def test_pods_on_several_nodes_and_several_on_one_read_the_exact_bytes(kube: Kube, tiny: Model, shared: str) -> None:
    places = {"a": "node1", "b": "node1", "c": "node2"}
    kube.apply(*[with_claim(name, shared, node=node) for name, node in places.items()])
    for name in places:
        kube.pod_ready(name, 120)
        assert reads_exactly(kube, name, tiny)


def test_a_pod_cannot_write_to_its_model(kube: Kube, shared: str) -> None:
    mounts = {"volumeMounts": [{"name": "model", "mountPath": "/model"}]}
    volumes = [{"name": "model", "persistentVolumeClaim": {"claimName": shared}}]
    kube.apply(pod("writer", node="node1", volumes=volumes, container=mounts))
    kube.pod_ready("writer")
    for attempt in ("touch /model/new", "rm /model/config.json", "echo x >> /model/config.json"):
        assert "Read-only file system" in kube.execute("writer", "sh", "-c", f"({attempt}) 2>&1; true")


def test_a_second_pod_of_a_staged_model_fetches_nothing(kube: Kube, tiny: Model, shared: str) -> None:
    kube.apply(with_claim("first", shared, node="node2"))
    kube.pod_ready("first", 120)
    before = fetched(kube, "node2")
    kube.apply(with_claim("second", shared, node="node2"))
    kube.pod_ready("second")
    assert reads_exactly(kube, "second", tiny)
    assert fetched(kube, "node2") == before


def test_two_claims_of_one_model_share_one_copy_and_end_in_either_order(kube: Kube, object_store: ObjectStore) -> None:
    model = object_store.put_model(BUCKET, "twice", {"weights": 32 * MIB}, seed=2)
    kube.apply(storage_class("claims-twice", model.source, secret=(RELEASE_NAMESPACE, "claims-reader")))
    before = fetched(kube, "node3")
    for round_, order in enumerate((("x", "y"), ("y", "x"))):
        names = [f"twice-{which}{round_}" for which in order]
        kube.apply(*[claim(name, "claims-twice") for name in names], *[with_claim(n, n, node="node3") for n in names])
        for name in names:
            kube.pod_ready(name, 120)
            assert reads_exactly(kube, name, model)
        for name in names:
            kube.delete("pod", name)
            kube.delete("pvc", name)
    assert fetched(kube, "node3") - before == model.size


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteOncePod"])
def test_a_claim_may_ask_for_any_mode_that_a_reader_can_live_with(kube: Kube, tiny: Model, mode: str) -> None:
    name = mode.lower()
    asked = claim(name, "claims-later")
    asked["spec"]["accessModes"] = [mode]
    kube.apply(asked, with_claim(name, name, node="node1"))
    kube.pod_ready(name)
    assert reads_exactly(kube, name, tiny)


def test_a_claim_for_writers_on_many_nodes_is_told_to_use_read_only_many(kube: Kube, tiny: Model) -> None:
    asked = claim("tiny-writers", "claims-later")
    asked["spec"]["accessModes"] = ["ReadWriteMany"]
    kube.apply(asked, with_claim("tiny-writers", "tiny-writers", node="node1"))
    assert "ReadOnlyMany" in kube.event("pvc", "tiny-writers", "ProvisioningFailed")["message"]


def test_the_first_consumer_decides_where_a_waiting_claim_is_made(kube: Kube, tiny: Model) -> None:
    kube.apply(claim("later", "claims-later"))
    kube.event("pvc", "later", "WaitForFirstConsumer")
    kube.apply(with_claim("later", "later", node="node3"))
    kube.pod_ready("later", 120)
    assert reads_exactly(kube, "later", tiny)


def test_the_claim_tells_how_it_was_staged(kube: Kube, object_store: ObjectStore) -> None:
    model = object_store.put_model(BUCKET, "told", {"weights": 24 * MIB}, seed=3)
    kube.apply(claim("told", "claims"), with_claim("told", "told", node="node2"))
    kube.pod_ready("told", 120)
    started = kube.event("pvc", "told", "StagingStarted")["message"]
    assert started == f"staging {model.source} (25.2 MB, 1 files) on node2"
    assert kube.event("pvc", "told", "Staged")["message"].startswith("staged 25.2 MB in ")


def test_a_static_volume_is_resolved_by_the_controller(kube: Kube, tiny: Model) -> None:
    attributes = {"source": tiny.source, "endpoint": ObjectStore.endpoint}
    secret_place = (RELEASE_NAMESPACE, "claims-reader")
    kube.apply(static_volume("claims-static", attributes, claim=("claims", "static"), secret=secret_place))
    asked = claim("static", "")
    asked["spec"]["volumeName"] = "claims-static"
    kube.apply(asked, with_claim("static", "static", node="node1"))
    kube.pod_ready("static", 120)
    assert reads_exactly(kube, "static", tiny)


def test_a_static_volume_that_pins_another_revision_is_refused_and_says_so(kube: Kube, tiny: Model) -> None:
    attributes = {"source": tiny.source, "endpoint": ObjectStore.endpoint, "revision": "0" * 64}
    secret_place = (RELEASE_NAMESPACE, "claims-reader")
    kube.apply(static_volume("claims-pinned", attributes, claim=("claims", "pinned"), secret=secret_place))
    asked = claim("pinned", "")
    asked["spec"]["volumeName"] = "claims-pinned"
    kube.apply(asked, with_claim("pinned", "pinned", node="node1"))
    assert "0" * 64 in kube.event("pvc", "pinned", "ModelVolumeFailed")["message"]
    assert "ModelVolume" in kube.event("pod", "pinned", "FailedMount")["message"]


def test_an_inline_volume_is_read_with_its_namespaces_own_secret(kube: Kube, object_store: ObjectStore) -> None:
    model = object_store.put_model("inline", "tiny", SIZES, seed=5)
    volume = inline_volume({"source": model.source, "endpoint": ObjectStore.endpoint}, secret="claims-reader")
    mounts = {"volumeMounts": [{"name": "model", "mountPath": "/model"}]}
    kube.apply(pod("inline", node="node1", volumes=[volume], container=mounts))
    kube.pod_ready("inline", 120)
    assert reads_exactly(kube, "inline", model)
    assert "Read-only file system" in kube.execute("inline", "sh", "-c", "touch /model/new 2>&1; true")
    kube.delete("pod", "inline")


@pytest.mark.parametrize(
    ("name", "source", "secret_name", "reason"),
    [
        ("forbidden", "s3://elsewhere/model", "claims-reader", "isn't allowed here"),
        ("nosecret", "s3://inline/tiny", "", "Unauthenticated"),
    ],
)
def test_an_inline_volume_is_refused(kube: Kube, name: str, source: str, secret_name: str, reason: str) -> None:
    volume = inline_volume({"source": source, "endpoint": ObjectStore.endpoint}, secret=secret_name)
    mounts = {"volumeMounts": [{"name": "model", "mountPath": "/model"}]}
    kube.apply(pod(f"inline-{name}", node="node1", volumes=[volume], container=mounts))
    assert reason in kube.event("pod", f"inline-{name}", "FailedMount")["message"]
    kube.delete("pod", f"inline-{name}")
