"""The disk of a node's store, made small or full for a while."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.agents import evict_unused
from e2e.agents import status as agents_status
from e2e.cluster.node import Node, loop_devices
from e2e.kube import Kube

EMPTIED = 300.0  # seconds until what earlier scenarios claimed is gone, and kubelet has let go of what their pods used
TOLD = 120.0  # seconds until the cluster knows
_STORE = "/var/lib/csi-model"
_NEARLY = 16 * 1024 * 1024  # bytes: what is staged meanwhile needn't be told yet


@contextmanager
def small(kube: Kube, node: str, size: int) -> Iterator[None]:
    """Let a node's disk be so many bytes large, and give it the rest back at the end."""
    _empty(kube, node)
    kube.wait_for(lambda: _used(_status(kube, node)) < size, TOLD, f"{node} holds less than {size} bytes")
    with _sized(kube, node, size):
        yield


@contextmanager
def roomy_for(kube: Kube, node: str, size: int) -> Iterator[None]:
    """Let so many bytes of copies fit on a node's disk besides what is there, and give it the rest back at the end."""
    _empty(kube, node)
    watermark = agents_status(kube, node)["store"]["high_watermark"]
    with _sized(kube, node, int((_used(_status(kube, node)) + size) / watermark)):
        yield


@contextmanager
def full(kube: Kube, node: str, left: int) -> Iterator[None]:
    """Fill a node's disk with something of somebody else's, but for so many bytes; it is gone at the end."""
    _empty(kube, node)
    status = _status(kube, node)
    ballast = _place(kube.cluster.node(node)) / "ballast"
    try:
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - left)
        yield
    finally:
        ballast.unlink()
    _wait_told(kube, node)


@contextmanager
def _sized(kube: Kube, node: str, size: int) -> Iterator[None]:
    """Let a file system set blocks aside for its own use: they count neither as used nor as free."""
    status, reserved = _status(kube, node), _reserved(kube.cluster.node(node))
    before = reserved.read_text()
    reserved.write_text(str(status.f_blocks - size // status.f_frsize))
    try:
        _wait_told(kube, node)
        yield
    finally:
        reserved.write_text(before)
    _wait_told(kube, node)


def _empty(kube: Kube, node: str) -> None:
    """Wait until nothing of earlier scenarios is about to go, and evict what nothing holds."""
    kube.wait_for(
        lambda: not _going(kube, node), EMPTIED, lambda: f"what is gone has left {node}: {_going(kube, node)}"
    )
    evict_unused(kube, node)


def _going(kube: Kube, node: str) -> list[str]:
    """Return what lets copies go soon: namespaces and volumes that are being deleted, and holds that no pod needs."""
    volumes = [one for one in kube.all("pv") if one["spec"]["persistentVolumeReclaimPolicy"] == "Delete"]
    everybody = json.loads(kube.kubectl("get", "pods", "--all-namespaces", "-o", "json"))["items"]
    uids = [one["metadata"]["uid"] for one in everybody]
    holds = agents_status(kube, node)["holds"]
    return [
        *[one["metadata"]["name"] for one in kube.all("namespaces") if one["status"]["phase"] == "Terminating"],
        *[one["metadata"]["name"] for one in volumes if one["status"]["phase"] == "Released"],
        *[one["volume_id"] for one in holds if not any(uid in path for uid in uids for path in one["targets"])],
    ]


def _wait_told(kube: Kube, node: str) -> None:
    """Wait until the cluster knows how large a node's disk is and how full: copies are sent where there is room."""

    def told() -> bool:
        said = (kube.get("modelnode", node) or {}).get("status", {}).get("store", {})
        status = _status(kube, node)
        used, total = _used(status), _used(status) + status.f_bavail * status.f_frsize
        differing = abs(said.get("usedBytes", 0) - used), abs(said.get("capacityBytes", 0) - total)
        return bool(max(differing) < _NEARLY)

    kube.wait_for(told, TOLD, f"the cluster knows the disk of {node}")


def _status(kube: Kube, node: str) -> os.statvfs_result:
    return os.statvfs(_place(kube.cluster.node(node)))


def _used(status: os.statvfs_result) -> int:
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def _place(node: Node) -> Path:
    return node.path(_STORE)


def _reserved(node: Node) -> Path:
    [device] = loop_devices(node.folder)
    return Path(f"/sys/fs/ext4/{Path(device).name}/reserved_clusters")
