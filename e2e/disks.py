"""The disk of a node's store, made small or full for a while."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.agents import evict_unused
from e2e.cluster.node import Node, loop_devices
from e2e.kube import Kube

EMPTIED = 150.0  # seconds until kubelet has let go of what earlier pods used
_STORE = "/var/lib/csi-model"


@contextmanager
def small(kube: Kube, node: str, size: int) -> Iterator[None]:
    """Let a node's disk be so many bytes large, and give it the rest back at the end.

    The file system sets blocks aside for its own use: they count neither as used nor as free.
    """
    status = kube.wait_for(lambda: _emptied(kube, node, size), EMPTIED, f"{node} holds less than {size} bytes")
    reserved = _reserved(kube.cluster.node(node))
    before = reserved.read_text()
    reserved.write_text(str(status.f_blocks - size // status.f_frsize))
    try:
        yield
    finally:
        reserved.write_text(before)


@contextmanager
def full(kube: Kube, node: str, left: int) -> Iterator[None]:
    """Fill a node's disk with something of somebody else's, but for so many bytes; it is gone at the end."""
    evict_unused(kube, node)
    status = os.statvfs(_place(kube.cluster.node(node)))
    ballast = _place(kube.cluster.node(node)) / "ballast"
    try:
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - left)
        yield
    finally:
        ballast.unlink()


def _emptied(kube: Kube, node: str, size: int) -> os.statvfs_result | None:
    """Evict what nothing holds; return how the disk is, if less than so many bytes are left on it."""
    evict_unused(kube, node)
    status = os.statvfs(_place(kube.cluster.node(node)))
    return status if (status.f_blocks - status.f_bfree) * status.f_frsize < size else None


def _place(node: Node) -> Path:
    return node.path(_STORE)


def _reserved(node: Node) -> Path:
    [device] = loop_devices(node.folder)
    return Path(f"/sys/fs/ext4/{Path(device).name}/reserved_clusters")
