"""Models that are steered to: where they are staged, as the API tells it, and the pods that go there."""

import json
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from csi_model.core.placement import label_of
from e2e.agents import volume_of
from e2e.driver import Driver
from e2e.kube import Kube, Object, claim, namespace, pod
from e2e.object_store import Model, ObjectStore
from e2e.reports import nonce
from e2e.volumes import storage_class

MIB = 1024 * 1024
SIZE = 4 * MIB
HOST = "kubernetes.io/hostname"
ANNOTATION = "csi-model.io/staged"
STAGED, WARMING = "staged", "warming"
_UNITS = {"": 1, "m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class Steered:
    """A claim's volume, as the API tells of it."""

    kube: Kube
    claim: str

    @cached_property
    def name(self) -> str:
        """Name of its ModelVolume, once the claim is bound."""
        return volume_of(self.kube, self.claim)[1]

    @property
    def item(self) -> Object:
        """Its ModelVolume."""
        found = self.kube.get("modelvolume", self.name)
        assert found, f"ModelVolume {self.name} of claim {self.claim}"
        return found

    @property
    def status(self) -> Object:
        found: Object = self.item.get("status") or {}
        return found

    @cached_property
    def revision(self) -> str:
        return str(self.item["spec"]["revision"])

    @cached_property
    def key(self) -> str:
        """Key of the label that nodes get which have it."""
        return label_of(self.revision)

    def labels(self) -> dict[str, str]:
        """Return the value of its label, by the nodes that have it."""
        found = self.kube.all("nodes", selector=self.key)
        return {node["metadata"]["name"]: node["metadata"]["labels"][self.key] for node in found}

    def wait_labels(self, wanted: Mapping[str, str], timeout: float = 120) -> None:
        """Wait until these nodes and no others have its label, with these values; TookTooLong."""
        self.kube.wait_for(lambda: self.labels() == wanted, timeout, lambda: f"labels {wanted}. {self.story()}")

    def wait_staged(self, *nodes: str, timeout: float = 120) -> None:
        """Wait until it is labelled as staged on these nodes, and no label is on another; TookTooLong."""
        self.wait_labels(dict.fromkeys(nodes, STAGED), timeout)

    def wait_count(self, count: int, timeout: float = 120) -> set[str]:
        """Wait until it is labelled as staged on so many nodes, and return them; TookTooLong."""

        def look() -> set[str] | None:
            nodes = {node for node, value in self.labels().items() if value == STAGED}
            return nodes if len(nodes) == count else None

        return self.kube.wait_for(look, timeout, lambda: f"staged on {count} nodes. {self.story()}")

    def wait_status(self, timeout: float = 120, **wanted: Any) -> None:
        """Wait until its ModelVolume's status says so; TookTooLong."""
        self.kube.wait_for(
            lambda: wanted.items() <= self.status.items(), timeout, lambda: f"status {wanted}. {self.story()}"
        )

    def condition(self, kind: str) -> Object:
        """Return a condition of its ModelVolume; empty if there is none."""
        return next((one for one in self.status.get("conditions", []) if one["type"] == kind), {})

    def wanted_on(self) -> set[str]:
        """Return the nodes that are told to have it."""
        return {
            node["metadata"]["name"]
            for node in self.kube.all("modelnodes")
            if any(one["revision"] == self.revision for one in node.get("spec", {}).get("wanted", []))
        }

    def wait_wanted(self, *nodes: str) -> None:
        """Wait until these nodes and no others are told to have it; TookTooLong."""
        self.kube.wait_for(lambda: self.wanted_on() == {*nodes}, 120, lambda: f"wanted on {nodes}. {self.story()}")

    def story(self) -> str:
        """Tell how it is, for the message of a failure."""
        nodes = {n["metadata"]["name"]: [n.get("spec"), n.get("status")] for n in self.kube.all("modelnodes")}
        told = {"labels": self.labels(), "status": self.status, "nodes": nodes}
        return json.dumps(told, default=str)[:6000] + f"\n{self.kube.story('pvc', self.claim)}"


@dataclass(frozen=True)
class Library:
    """A bucket that everybody may read and a namespace: models are put in the one and claimed in the other."""

    kube: Kube
    store: ObjectStore
    bucket: str

    def put(self, name: str, size: int = SIZE) -> Model:
        """Put a model of two files that no node has seen."""
        sizes = {"weights": size, "config.json": 700}
        return self.store.put_model(self.bucket, name, sizes, seed=secrets.randbits(32))

    def classed(
        self, source: str, *, endpoint: str = ObjectStore.endpoint, binding: str = "Immediate", **parameters: str
    ) -> str:
        """Make a class of models that are read anonymously, and return its name."""
        name = f"{self.bucket}-{nonce()}{nonce()}"
        wanted = storage_class(name, source, endpoint=endpoint, parameters=parameters, volumeBindingMode=binding)
        self.kube.apply(wanted)
        return name

    def claimed(
        self, name: str, size: int = SIZE, *, endpoint: str = ObjectStore.endpoint, binding: str = "Immediate",
        **parameters: str,
    ) -> Steered:  # fmt: skip
        """Put a new model, and claim it with a class of its own; both have this name."""
        model = self.put(name, size)
        self.kube.apply(claim(name, self.classed(model.source, endpoint=endpoint, binding=binding, **parameters)))
        return Steered(self.kube, name)

    def staged(self, name: str, *nodes: str, size: int = SIZE, **parameters: str) -> Steered:
        """Put a new model and claim it, and wait until it is staged on some nodes and nowhere else.

        Args:
            name: of the model and the claim.
            nodes: one, or all that there are.
            size: bytes.
            parameters: of the class.

        """
        place = {"warmNodeSelector": f"{HOST}={nodes[0]}"} if len(nodes) == 1 else {}
        parameters = {"warmReplicas": str(len(nodes)), **place, **parameters}
        found = self.claimed(name, size, **parameters)
        found.wait_staged(*nodes)
        return found


@contextmanager
def library_in(bucket: str, driver: Driver, store: ObjectStore) -> Iterator[Library]:
    """Yield a bucket that everybody may read and a namespace beside it, which is gone at the end of the block."""
    store.bucket(bucket)
    store.publish(bucket)
    with namespace(driver.kube, f"{bucket}-{nonce()}") as kube:
        yield Library(kube, store, bucket)


@contextmanager
def labelled(kube: Kube, label: str, *nodes: str) -> Iterator[None]:
    """Give nodes a label (`key=value`), until the end of the block."""
    try:
        kube.kubectl("label", "node", *nodes, label, "--overwrite")
        yield
    finally:
        kube.kubectl("label", "node", *nodes, label.partition("=")[0] + "-")


# --- Pods ---


def mounting(name: str, *claims: str, **spec: Any) -> Object:
    """Return a pod that mounts claims, each at /<claim>; see kube.pod."""
    mounts = [{"name": one, "mountPath": f"/{one}", "readOnly": True} for one in claims]
    container = {"volumeMounts": mounts, **spec.pop("container", {})}
    volumes = [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in claims]
    return pod(name, volumes=volumes, container=container, **spec)


def requesting(requests: Mapping[str, str]) -> Object:
    """Return keys of a pod whose container requests resources, for `mounting`."""
    return {"container": {"resources": {"requests": dict(requests)}}}


def deployment(name: str, *claims: str, replicas: int = 1, **spec: Any) -> Object:
    """Return a Deployment of pods that mount claims; see mounting."""
    spec = mounting(name, *claims, restartPolicy="Always", **spec)["spec"]
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    body = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": body}


@contextmanager
def deployed(kube: Kube, wanted: Object) -> Iterator[str]:
    """Apply a Deployment and yield its name; it is gone at the end, with its pods."""
    name = wanted["metadata"]["name"]
    kube.apply(wanted)
    try:
        yield name
    finally:
        kube.kubectl("delete", "deployment", name, "--ignore-not-found")
        kube.kubectl("delete", "pods", f"--selector=app={name}", "--grace-period=1", "--timeout=90s", timeout=100)


def pods_of(kube: Kube, name: str) -> list[Object]:
    """Return a Deployment's pods that aren't being deleted."""
    return [one for one in kube.all("pods", selector=f"app={name}") if "deletionTimestamp" not in one["metadata"]]


def placed(kube: Kube, name: str) -> Counter[str]:
    """Return how many pods of a Deployment are on each node; "" stands for nowhere yet."""
    return Counter(one["spec"].get("nodeName", "") for one in pods_of(kube, name))


def share(kube: Kube, node: str, parts: int) -> dict[str, str]:
    """Return the requests of a pod of which so many, and no more, fit into what is free on a node."""
    found = kube.get("node", node)
    assert found, node
    pods = kube.wait_for(lambda: _lasting(kube, node), 120, f"no pod on {node} is about to go")
    asked = [one.get("resources", {}).get("requests", {}) for each in pods for one in each["spec"]["containers"]]
    free = {
        kind: _number(found["status"]["allocatable"][kind]) - sum(_number(one.get(kind, "0")) for one in asked)
        for kind in ("cpu", "memory")
    }
    return {"cpu": f"{int(free['cpu'] * 1000 / parts)}m", "memory": str(int(free["memory"] / parts))}


def _lasting(kube: Kube, node: str) -> list[Object] | None:
    """Return the pods on a node that count for the scheduler; None while some of them are being deleted."""
    fields = f"spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"
    said = kube.kubectl("get", "pods", "--all-namespaces", "-o", "json", f"--field-selector={fields}")
    found: list[Object] = json.loads(said)["items"]
    return None if any("deletionTimestamp" in one["metadata"] for one in found) else found


def bound_to(kube: Kube, name: str) -> str:
    """Return the node that a pod is bound to; "" if none."""
    return str((kube.get("pod", name) or {}).get("spec", {}).get("nodeName", ""))


def wait_bound(kube: Kube, name: str) -> str:
    """Wait until a pod is bound to a node, and return that; TookTooLong."""
    return kube.wait_for(lambda: bound_to(kube, name), 120, lambda: f"{name} is bound. {kube.story('pod', name)}")


def _number(quantity: str) -> float:
    digits = quantity.rstrip("kKMGim")
    return float(digits) * _UNITS[quantity[len(digits) :]]
