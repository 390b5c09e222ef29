"""What goes wrong is told where the user looks, with who has to act; once it is mended, the pod starts by itself."""

import secrets
from collections.abc import Iterator

import pytest

from e2e import disks
from e2e.driver import Driver
from e2e.kube import Kube, claim, namespace, with_claim
from e2e.object_store import Key, Model, ObjectStore
from e2e.reports import nonce
from e2e.volumes import reads_exactly, secret, storage_class

MIB = 1024 * 1024
NODE, SMALL_NODE = "node1", "node3"
BUCKET, FORBIDDEN = "failures", "failures-forbidden"
ADMINISTRATOR_ACTS = f"the administrator of {SMALL_NODE} has to act"
SIZES = {"weights": 64 * MIB, "config.json": 700}
SOON = 200.0  # seconds for a pod to start after its cause is mended: kubelet waits ever longer, two minutes at most


@pytest.fixture(scope="module")
def reader(object_store: ObjectStore) -> Key:
    object_store.bucket(BUCKET)
    return object_store.reader("failures-reader", BUCKET)


@pytest.fixture(scope="module")
def kube(driver: Driver, reader: Key) -> Iterator[Kube]:
    """Yield a namespace with the Secret `good`; claims are named after their models."""
    with namespace(driver.kube, f"failures-{nonce()}") as inside:
        inside.apply(secret("good", reader))
        yield inside


def classed(kube: Kube, secret_name: str = "good", **parameters: str) -> str:
    """Make a class that takes the model from a claim's name, and return its name."""
    name = f"failures-{nonce()}"
    place = (kube.namespace, secret_name)
    kube.apply(storage_class(name, f"s3://{BUCKET}/${{pvc.name}}", secret=place, parameters=parameters))
    return name


def put(store: ObjectStore, name: str) -> Model:
    """Put a model that no node has seen."""
    return store.put_model(BUCKET, name, SIZES, seed=secrets.randbits(32))


def wanted(kube: Kube, name: str, storage_class: str, node: str = NODE) -> None:
    """Make a claim and a pod that waits for it, both of a model's name."""
    kube.apply(claim(name, storage_class), with_claim(name, name, node=node))


def starts_by_itself(kube: Kube, model: Model) -> bool:
    kube.pod_ready(model.prefix, SOON)
    return reads_exactly(kube, model.prefix, model)


def refusal(kube: Kube, kind: str, name: str, reason: str, code: str) -> str:
    """Wait for an event with this reason and code, and return what it says."""
    return str(kube.event(kind, name, reason, code)["message"])


def test_a_wrong_source(kube: Kube, object_store: ObjectStore) -> None:
    name = f"model-{nonce()}"
    wanted(kube, name, classed(kube))
    said = refusal(kube, "pvc", name, "ProvisioningFailed", "NotFound")
    assert f"s3://{BUCKET}/{name}" in said
    model = put(object_store, name)
    assert starts_by_itself(kube, model)


@pytest.mark.parametrize(
    ("name", "code", "hint"),
    [
        ("missing", 'secrets "missing" not found', "error getting secret"),
        ("mistyped", "Unauthenticated", "refuses the credentials"),
        ("elsewhere", "PermissionDenied", "allow s3:ListBucket and s3:GetObject"),
    ],
)
def test_a_wrong_secret_for_the_claim(
    kube: Kube, object_store: ObjectStore, reader: Key, *, name: str, code: str, hint: str
) -> None:
    if name == "mistyped":
        kube.apply(secret(name, Key(reader.access, "mistyped")))
    elif name == "elsewhere":
        object_store.bucket(FORBIDDEN)
        kube.apply(secret(name, object_store.reader("failures-elsewhere", FORBIDDEN)))
    model = put(object_store, f"model-{nonce()}")
    wanted(kube, model.prefix, classed(kube, name))
    assert hint in refusal(kube, "pvc", model.prefix, "ProvisioningFailed", code)
    kube.apply(secret(name, reader))
    assert starts_by_itself(kube, model)


def test_a_wrong_secret_for_the_node(kube: Kube, object_store: ObjectStore, reader: Key) -> None:
    kube.apply(secret("rotated", Key(reader.access, "as-it-was-last-year")))
    model = put(object_store, f"model-{nonce()}")
    wanted(kube, model.prefix, classed(kube, **{"csi.storage.k8s.io/node-stage-secret-name": "rotated"}))
    assert f"/{model.prefix}/" in refusal(kube, "pod", model.prefix, "FailedMount", "Unauthenticated")
    said = kube.event("pvc", model.prefix, "StagingFailed", "refuses the credentials")["message"]
    assert said.startswith(f"staging {model.source} on {NODE} failed: ")
    assert "the owner of the source has to act" in said
    kube.apply(secret("rotated", reader))
    assert starts_by_itself(kube, model)


def test_a_model_larger_than_the_disk(kube: Kube, object_store: ObjectStore) -> None:
    model = put(object_store, f"model-{nonce()}")
    with disks.small(kube, SMALL_NODE, 50 * MIB):
        wanted(kube, model.prefix, classed(kube), SMALL_NODE)
        said = refusal(kube, "pod", model.prefix, "FailedMount", "ResourceExhausted")
        assert "needs 67.1 MB, more than the 41.9 MB that the store's disk may hold" in said
        kube.event("pvc", model.prefix, "StagingFailed", ADMINISTRATOR_ACTS)
    assert starts_by_itself(kube, model)
    kube.delete("pod", model.prefix)  # which needs the room


def test_a_full_disk(kube: Kube, object_store: ObjectStore) -> None:
    model = put(object_store, f"model-{nonce()}")
    with disks.full(kube, SMALL_NODE, 16 * MIB):
        wanted(kube, model.prefix, classed(kube), SMALL_NODE)
        said = refusal(kube, "pod", model.prefix, "FailedMount", "ResourceExhausted")
        assert "needs 67.1 MB and the store can give" in said
        kube.event("pvc", model.prefix, "StagingFailed", ADMINISTRATOR_ACTS)
    assert starts_by_itself(kube, model)
    kube.delete("pod", model.prefix)  # which needs the room
