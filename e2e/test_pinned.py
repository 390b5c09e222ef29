"""A claim is a promise of bytes: what the bucket had when it was bound, whatever happens to the bucket afterwards."""

import secrets
from collections.abc import Iterator

import pytest

from e2e.driver import Driver
from e2e.kube import Kube, claim, namespace, with_claim
from e2e.object_store import Model, ObjectStore
from e2e.reports import nonce
from e2e.volumes import reads_exactly, storage_class

NODE = "node1"
SIZES = {"weights": 9 * 1024 * 1024, "config.json": 700}


@pytest.fixture(scope="module")
def kube(driver: Driver, object_store: ObjectStore) -> Iterator[Kube]:
    """Yield a namespace; claims of the classes `versioned` and `unversioned` are named after their models."""
    for bucket in ("versioned", "unversioned"):
        object_store.bucket(bucket, versioned=bucket == "versioned")
        object_store.publish(bucket)
        driver.kube.apply(storage_class(bucket, f"s3://{bucket}/${{pvc.name}}"))
    with namespace(driver.kube, f"pinned-{nonce()}") as inside:
        yield inside


def put(store: ObjectStore, bucket: str, prefix: str) -> Model:
    """Put bytes that no node has; those it has needn't come from anywhere."""
    return store.put_model(bucket, prefix, SIZES, seed=secrets.randbits(32))


def bound(kube: Kube, store: ObjectStore, bucket: str) -> Model:
    """Put a model that no node has seen, and return it once a claim of its name is bound."""
    model = put(store, bucket, f"model-{nonce()}")
    kube.apply(claim(model.prefix, bucket))
    kube.kubectl("wait", "--for=jsonpath={.status.phase}=Bound", f"pvc/{model.prefix}", "--timeout=60s", timeout=70)
    return model


def test_the_old_bytes_arrive_after_their_object_was_overwritten(kube: Kube, object_store: ObjectStore) -> None:
    model = bound(kube, object_store, "versioned")
    newer = put(object_store, "versioned", model.prefix)
    assert newer.digests != model.digests
    kube.apply(with_claim("overwritten", model.prefix, node=NODE))
    kube.pod_ready("overwritten", 120)
    assert reads_exactly(kube, "overwritten", model)


def test_the_old_bytes_arrive_after_their_object_was_deleted(kube: Kube, object_store: ObjectStore) -> None:
    model = bound(kube, object_store, "versioned")
    for name in model.digests:
        object_store.client.delete_object(Bucket="versioned", Key=f"{model.prefix}/{name}")
    kube.apply(with_claim("deleted", model.prefix, node=NODE))
    kube.pod_ready("deleted", 120)
    assert reads_exactly(kube, "deleted", model)


def test_a_new_claim_gets_the_new_bytes(kube: Kube, object_store: ObjectStore) -> None:
    model = bound(kube, object_store, "versioned")
    newer = put(object_store, "versioned", model.prefix)
    kube.delete("pvc", model.prefix)
    kube.apply(claim(model.prefix, "versioned"), with_claim("newer", model.prefix, node=NODE))
    kube.pod_ready("newer", 120)
    assert reads_exactly(kube, "newer", newer)


def test_without_versions_an_overwritten_model_is_refused_and_the_events_say_why(
    kube: Kube, object_store: ObjectStore
) -> None:
    model = bound(kube, object_store, "unversioned")
    put(object_store, "unversioned", model.prefix)
    kube.apply(with_claim("refused", model.prefix, node=NODE))
    for said in (kube.event("pod", "refused", "FailedMount"), kube.event("pvc", model.prefix, "StagingFailed")):
        assert model.prefix in said["message"]
        assert "overwritten" in said["message"]
