"""The objects of the simulated cluster, about as large as real ones are. No I/O."""

import hashlib
import json
import uuid
from datetime import UTC, datetime
from typing import Any

from bench.scale.world import POOL, Model, World
from csi_model import DRIVER_NAME
from csi_model.cluster import model_volume
from csi_model.core.capability import AccessMode, Capability
from csi_model.core.fields import Auth
from csi_model.core.naming import volume_id_of
from csi_model.core.placement import NODE_KEY, Placement, label_of, render_replicas, render_selector
from csi_model.core.reference import Reference
from csi_model.core.volume import Claim, VolumeRecord, VolumeSpec

Json = dict[str, Any]
STORAGE_CLASS = "models"
_IMAGES = 40  # that a node has; kubelet tells of 50 at most
_VARIABLES = 24  # of a pod
_GIGABYTES = "1000Gi"


def now(*, fractions: bool = False) -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds" if fractions else "seconds").replace("+00:00", "Z")


def identity(*words: object) -> str:
    """Return a uid that is always the same for the same words."""
    return str(uuid.UUID(hashlib.md5("/".join(map(str, words)).encode()).hexdigest()))


def node(name: str, kind: str) -> Json:
    number = int(name[-4:])
    labels = {
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/region": "eu-1", "topology.kubernetes.io/zone": f"eu-1{'abc'[number % 3]}",
        "node.kubernetes.io/instance-type": "gpu.8xlarge", POOL: kind, NODE_KEY: name,
    }  # fmt: skip
    resources = {"cpu": "64", "memory": "512Gi", "pods": "110", "ephemeral-storage": "200Gi", "nvidia.com/gpu": "8"}
    images = [
        {"names": [f"registry.example.com/a/fairly/usual/image-{i}@sha256:{identity('image', i).replace('-', '') * 2}"],
         "sizeBytes": 1_000_000 * (i + 1)}
        for i in range(_IMAGES)
    ]  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels,
                     "annotations": {"csi.volume.kubernetes.io/nodeid": json.dumps({DRIVER_NAME: name})}},
        "spec": {"podCIDR": f"10.{number // 256}.{number % 256}.0/24"},
        "status": {"capacity": resources, "allocatable": resources, "images": images, "conditions": conditions(),
                   "addresses": [{"type": "Hostname", "address": name}]},
    }  # fmt: skip


def conditions() -> list[Json]:
    """Say that a node is well, as its kubelet does every few minutes."""
    said = {"status": "False", "reason": "KubeletHasSufficientMemory", "message": "kubelet has sufficient memory"}
    times = {"lastHeartbeatTime": now(), "lastTransitionTime": "2026-01-01T00:00:00Z"}
    pressures = [{"type": f"{what}Pressure", **said, **times} for what in ("Memory", "Disk", "PID")]
    ready = {"status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
    return [*pressures, {"type": "Ready", **ready, **times}]


def volume(model: Model, claim_uid: str) -> Json:
    """Return the ModelVolume of a claim."""
    spec = VolumeSpec(Reference.parse(f"s3://models/model-{model.number}"), auth=Auth.AMBIENT)
    name = _volume_name(model)
    claim = Claim(model.namespace, model.claim, claim_uid)
    capability = Capability(AccessMode.MULTI_NODE_READER_ONLY, block=False, fs_type="", mount_flags=())
    record = VolumeRecord(volume_id_of(name), name, spec, (capability,), model.manifest.size, model.manifest, claim)
    item = model_volume.render(record)
    item["spec"]["placement"] = str(model.placement)
    item["spec"]["wants"] = {
        "replicas": render_replicas(model.wants.replicas),
        "nodeSelector": render_selector(model.wants.node_selector),
        "pin": model.wants.pin,
    }
    return item


def persistent_volume(model: Model) -> Json:
    spec: Json = {
        "capacity": {"storage": _GIGABYTES}, "accessModes": ["ReadOnlyMany"], "storageClassName": STORAGE_CLASS,
        "persistentVolumeReclaimPolicy": "Delete", "volumeMode": "Filesystem",
        "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": model.namespace,
                     "name": model.claim},
        "csi": {"driver": DRIVER_NAME, "volumeHandle": volume_name_of(model), "readOnly": True,
                "volumeAttributes": {"source": f"s3://models/model-{model.number}", "revision": model.revision}},
    }  # fmt: skip
    if model.placement is Placement.REQUIRE:
        term = {"matchExpressions": [{"key": label_of(model.revision), "operator": "In", "values": ["staged"]}]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": _volume_name(model)}, "spec": spec}


def volume_name_of(model: Model) -> str:
    """Return the ModelVolume's name, which is the volume's id."""
    return volume_id_of(_volume_name(model))


def claim(namespace: str, name: str, storage_class: str, volume_name: str) -> Json:
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"storageClassName": storage_class, "accessModes": ["ReadOnlyMany"], "volumeName": volume_name,
                 "resources": {"requests": {"storage": _GIGABYTES}}},
    }  # fmt: skip


def model_claim(model: Model) -> Json:
    return claim(model.namespace, model.claim, STORAGE_CLASS, _volume_name(model))


def pod(namespace: str, name: str, node_name: str, claims: tuple[str, ...] = ()) -> Json:
    """Return a pod of about 5 KiB, bound if it has a node."""
    digest = identity("image", name).replace("-", "") * 2
    variables = [{"name": f"SETTING_{i}", "value": f"a-value-of-ordinary-length-{i:04}"} for i in range(_VARIABLES)]
    mounts = [{"name": f"model-{i}", "mountPath": f"/models/{i}", "readOnly": True} for i, _ in enumerate(claims)]
    probe = {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 10, "failureThreshold": 60}
    server = {
        "name": "server", "image": f"registry.example.com/team/server@sha256:{digest}",
        "args": ["--model", "/models/0", "--tensor-parallel-size", "8", "--max-model-len", "32768"],
        "env": variables, "volumeMounts": mounts, "readinessProbe": probe, "startupProbe": probe,
        "resources": {"requests": {"cpu": "4", "memory": "32Gi"}, "limits": {"memory": "32Gi"}},
    }  # fmt: skip
    beside = {"name": "metrics", "image": f"registry.example.com/team/metrics@sha256:{digest}", "env": variables[:12]}
    volumes = [
        {"name": f"model-{i}", "persistentVolumeClaim": {"claimName": claim_name, "readOnly": True}}
        for i, claim_name in enumerate(claims)
    ]
    spec = {"containers": [server, beside], "volumes": volumes, **({"nodeName": node_name} if node_name else {})}
    labels = {"app": name.rpartition("-")[0], "pod-template-hash": digest[:10], "team": namespace}
    metadata = {"name": name, "namespace": namespace, "labels": labels,
                "annotations": {"example.com/configuration": digest * 8}}  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def our_pods(world: World) -> list[Json]:
    return [
        pod(world.models[number].namespace, f"server-{i:05}", node_name, (world.models[number].claim,))
        for i, (number, node_name) in enumerate(world.pods)
    ]


def other_pods(world: World) -> list[Json]:
    """Return the pods that are no business of ours, some with claims of another driver."""
    sizes, names = world.sizes, list(world.nodes)
    foreign = [f"data-{i:03}" for i in range(sizes.foreign_claims)]
    made = []
    for i in range(sizes.pods - sizes.ours):
        which = i % len(foreign) if i < 10 * len(foreign) else None
        place = world.namespaces()[(i if which is None else which) % sizes.namespaces]
        made.append(pod(place, f"other-{i:05}", names[i % len(names)], () if which is None else (foreign[which],)))
    return made


def foreign_claims(world: World) -> list[Json]:
    spaces = world.namespaces()
    return [
        claim(spaces[i % len(spaces)], f"data-{i:03}", "disks", f"disk-{i:03}")
        for i in range(world.sizes.foreign_claims)
    ]


def _volume_name(model: Model) -> str:
    return f"pvc-{identity('claim', model.number)}"
