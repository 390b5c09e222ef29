"""Creates the objects of the simulated cluster, several at a time."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bench.scale import objects
from bench.scale.client import Client, Json
from bench.scale.world import World

_AT_ONCE = 8
_PROGRESS = 10.0  # seconds
_CORE, _STORAGE = "/api/v1", "/apis/storage.k8s.io/v1"
MODEL_VOLUMES = "/apis/csi-model.io/v1alpha1/modelvolumes"
Say = Callable[[str], None]
T = TypeVar("T")


def fill(admin: Client, world: World, say: Say) -> None:
    """Create nodes, volumes, claims and pods."""
    _all(admin, "namespaces", [(f"{_CORE}/namespaces", _named("Namespace", n)) for n in world.namespaces()], say)
    accounts = [(_in(n, "serviceaccounts"), _named("ServiceAccount", "default")) for n in world.namespaces()]
    _all(admin, "service accounts", accounts, say)
    classes = [_class(objects.STORAGE_CLASS, "csi-model.io"), _class("disks", "disks.example.com")]
    _all(admin, "storage classes", [(f"{_STORAGE}/storageclasses", item) for item in classes], say)
    nodes = [(f"{_CORE}/nodes", objects.node(name, kind)) for name, kind in world.nodes.items()]
    _all(admin, "nodes", nodes, say)
    volumes = [(f"{_CORE}/persistentvolumes", objects.persistent_volume(model)) for model in world.models]
    _all(admin, "persistent volumes", volumes, say)
    claims = [*map(objects.model_claim, world.models), *objects.foreign_claims(world)]
    made = _all(admin, "claims", _placed("persistentvolumeclaims", claims), say)
    known = zip(world.models, made, strict=False)  # those of our own come first
    ours = [objects.volume(model, found["metadata"]["uid"]) for model, found in known]
    _all(admin, "volumes", [(MODEL_VOLUMES, item) for item in ours], say)
    _bind(admin, claims, say)
    pods = [*objects.our_pods(world), *objects.other_pods(world)]
    _all(admin, "pods", _placed("pods", pods), say)


def _bind(admin: Client, claims: Iterable[Json], say: Say) -> None:
    """Say of each claim that it is bound, as a controller manager would."""
    status = {"status": {"phase": "Bound", "accessModes": ["ReadOnlyMany"]}}
    paths = [f"{path}/{item['metadata']['name']}/status" for path, item in _placed("persistentvolumeclaims", claims)]
    _each(lambda path: admin.patch(path, status), paths, "bound claims", say)


def _all(admin: Client, what: str, items: list[tuple[str, Json]], say: Say) -> list[Json]:
    return _each(lambda item: admin.create(*item), items, what, say)


def _each(do: Callable[[T], Json], items: list[T], what: str, say: Say) -> list[Json]:
    begun = told = time.monotonic()
    made = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for answer in pool.map(do, items):
            made.append(answer)
            if time.monotonic() - told > _PROGRESS:
                told = time.monotonic()
                say(f"{len(made)} of {len(items)} {what}")
    say(f"{len(items)} {what} in {time.monotonic() - begun:.1f} s")
    return made


def _placed(resource: str, items: Iterable[Json]) -> list[tuple[str, Json]]:
    return [(_in(item["metadata"]["namespace"], resource), item) for item in items]


def _in(namespace: str, resource: str) -> str:
    return f"{_CORE}/namespaces/{namespace}/{resource}"


def _named(kind: str, name: str) -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


def _class(name: str, driver: str) -> Json:
    return {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}, "provisioner": driver,
    }  # fmt: skip
