"""What a platform engineer declares, as objects: Secrets, StorageClasses, static PersistentVolumes, inline volumes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from e2e.driver import NAMESPACE as RELEASE_NAMESPACE
from e2e.kube import Kube, Object, namespace
from e2e.object_store import Key, Model, ObjectStore
from e2e.reports import nonce

DRIVER = "csi-model.io"


def secret(name: str, key: Key) -> Object:
    """Return a Secret with an access key, as docs/parameters.md describes it."""
    data = {"accessKeyId": key.access, "secretAccessKey": key.secret}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def storage_class(
    name: str, source: str, *, endpoint: str = ObjectStore.endpoint, secret: tuple[str, str] | None = None, **more: Any
) -> Object:
    """Return a StorageClass of models.

    Args:
        name: of the class.
        source: the reference; may use templates.
        endpoint: of the object store.
        secret: namespace and name of the Secret for listing and staging; None reads anonymously.
        more: other keys of the object, such as `volumeBindingMode`; other parameters go in `parameters`.

    """
    parameters = {"source": source, "endpoint": endpoint}
    if secret is None:
        parameters["auth"] = "anonymous"
    else:
        for kind in ("provisioner", "node-stage"):
            parameters[f"csi.storage.k8s.io/{kind}-secret-namespace"] = secret[0]
            parameters[f"csi.storage.k8s.io/{kind}-secret-name"] = secret[1]
    parameters |= more.pop("parameters", {})
    head = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
    return {**head, "provisioner": DRIVER, "parameters": parameters, **more}


def attributes_class(name: str, **parameters: str) -> Object:
    """Return a VolumeAttributesClass: what a claim can change while it lives."""
    head = {"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass", "metadata": {"name": name}}
    return {**head, "driverName": DRIVER, "parameters": parameters}


def static_volume(
    name: str, attributes: Mapping[str, str], *, claim: tuple[str, str], secret: tuple[str, str] | None = None
) -> Object:
    """Return a PersistentVolume that an administrator writes by hand, for one claim (namespace, name)."""
    csi: Object = {"driver": DRIVER, "volumeHandle": name, "volumeAttributes": dict(attributes)}
    if secret is not None:
        csi["nodeStageSecretRef"] = {"namespace": secret[0], "name": secret[1]}
    spec = {
        "capacity": {"storage": "1Mi"}, "accessModes": ["ReadOnlyMany"], "storageClassName": "",
        "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": claim[0], "name": claim[1]}, "csi": csi,
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def inline_volume(attributes: Mapping[str, str], *, secret: str = "") -> Object:
    """Return a pod's volume `model` that names its model itself."""
    csi: Object = {"driver": DRIVER, "readOnly": True, "volumeAttributes": dict(attributes)}
    if secret:
        csi["nodePublishSecretRef"] = {"name": secret}
    return {"name": "model", "csi": csi}


def digests_in(kube: Kube, pod: str, path: str = "/model") -> dict[str, str]:
    """Read every file that a pod sees, and return their SHA-256 in hex by path below `path`."""
    said = kube.execute(pod, "sh", "-c", f"cd {path} && find . -type f -exec sha256sum '{{}}' ';'", timeout=120)
    return {name.removeprefix("./"): digest for digest, name in (line.split(maxsplit=1) for line in said.splitlines())}


def reads_exactly(kube: Kube, pod: str, model: Model) -> bool:
    """Tell whether a pod sees the model's files, all of them and nothing else, with the bytes that were put."""
    return digests_in(kube, pod) == dict(model.digests)


def model_volume(name: str) -> Object:
    """Return a ModelVolume that is nobody's, as the controller would write it."""
    source = "s3://models/qwen"
    spec = {
        "volumeHandle": name, "volumeName": "pvc-1", "source": source, "revision": "a" * 64, "shortRevision": "a" * 12,
        "bytes": 11, "files": 2, "size": "11 B", "capacityBytes": 11, "context": {"source": source},
        "fromClaim": False, "manifest": "eJwDAAAAAAE=",
        "capabilities": [{"mode": "MULTI_NODE_READER_ONLY", "block": False, "fsType": "", "mountFlags": []}],
    }  # fmt: skip
    head = {"apiVersion": "csi-model.io/v1alpha1", "kind": "ModelVolume", "metadata": {"name": name}}
    return {**head, "spec": spec}


@contextmanager
def named_after_models(kube: Kube, store: ObjectStore, name: str, endpoint: str) -> Iterator[Kube]:
    """Yield a namespace with a class `name`, whose claims are named after the models of the bucket `name`."""
    store.bucket(name)
    store.publish(name)
    kube.apply(storage_class(name, f"s3://{name}/${{pvc.name}}", endpoint=endpoint))
    with namespace(kube, f"{name}-{nonce()}") as inside:
        yield inside
    kube.delete("storageclass", name)


def agent_on(kube: Kube, node: str) -> Object:
    """Return the node agent's pod on a node; there is one, once it is ready."""
    release = kube.inside(RELEASE_NAMESPACE)

    def look() -> Object | None:
        selector = "app.kubernetes.io/component=node"
        pods = release.all("pods", selector=selector, fields=f"spec.nodeName={node}")
        ready = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"] and _is_ready(pod)]
        return ready[0] if ready else None

    return release.wait_for(look, 120, f"an agent is ready on {node}")


def agent_name(kube: Kube, node: str) -> str:
    """Return the name of the node agent's pod on a node, once it is ready."""
    return str(agent_on(kube, node)["metadata"]["name"])


def metric(kube: Kube, node: str, name: str) -> float:
    """Return the sum over a metric's samples at a node's agent."""
    agent = agent_name(kube, node)
    said = kube.kubectl(
        "get", "--raw", f"/api/v1/namespaces/{RELEASE_NAMESPACE}/pods/{agent}:9808/proxy/metrics", timeout=20
    )
    samples = [line.split() for line in said.splitlines() if line.partition("{")[0].partition(" ")[0] == name]
    return sum(float(sample[-1]) for sample in samples)


def fetched(kube: Kube, node: str) -> float:
    """Return the bytes that a node's agent has fetched from sources since it started."""
    return metric(kube, node, "csi_model_fetched_bytes_total")


def _is_ready(pod: Object) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))
