"""Holds: durable records, one per staged or inline volume, that keep trees from eviction.

A hold says which volume wants which Revision, where it is staged, and which targets belong to it with which
arguments: two volumes of one model bind the same directory, so the mount table can't tell whose a target is.
Whether a target *is* mounted stands in the mount table alone.
"""

import json
import math
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from csi_model.core.capability import AccessMode, Capability
from csi_model.core.records import exactly
from csi_model.core.treehash import is_digest
from csi_model.core.volume import Claim
from csi_model.store.bell import Ring, nobody
from csi_model.store.durable import fsync_directory, write_file
from csi_model.store.layout import Layout

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Target:
    """A published target's arguments."""

    capability: Capability
    read_only: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """One volume's claim on a tree.

    Attributes:
        volume_id: the volume.
        manifest: the Manifest digest of its Revision.
        staging_path: as NodeStage named it; of an inline volume, the directory in which its target lies. Either is made
            by the container orchestrator before the volume comes and removed after it went.
        capability: as NodeStage (or, for an inline volume, NodePublish) was asked.
        context: the volume_context (never secret), so that a restarted agent knows where the bytes come from.
        bytes: size of the Revision.
        files: number of its files.
        pin: whether its copy is evicted last.
        capacity: bytes promised to the claim.
        since: when it began, in seconds since the epoch.
        targets: published targets.
        claim: whom the volume was made for, to tell people; None if nobody knows.
        ephemeral: whether it is an inline volume, which lives and dies with one pod and is never staged.

    """

    volume_id: str
    manifest: str
    staging_path: str
    capability: Capability
    context: Mapping[str, str]
    bytes: int
    files: int
    pin: bool
    capacity: int
    since: float
    targets: Mapping[str, Target] = field(default_factory=dict)
    claim: Claim | None = None
    ephemeral: bool = False

    def with_target(self, path: str, target: Target) -> "Hold":
        return replace(self, targets={**self.targets, path: target})

    def without_target(self, path: str) -> "Hold":
        return replace(self, targets={name: t for name, t in self.targets.items() if name != path})


class Holds:
    """All holds of a store, in memory and on disk. Methods raise OSError; the store translates.

    Whoever changes a hold has its volume's lock. Files are written outside the lock of this class, so that volumes
    don't wait for each other's disk, and nobody who only reads waits for any.

    Args:
        layout: the store's paths.
        changed: called when there is a hold more or less.

    """

    def __init__(self, layout: Layout, changed: Ring = nobody) -> None:
        self._changed = changed
        self._layout = layout
        self._lock = threading.Lock()
        self._holds: dict[str, Hold] = {}
        self.unreadable: set[str] = set()
        """Names of hold files that can't be understood; each protects whatever the mount table shows in use."""
        for path in layout.holds.iterdir():
            try:
                hold = _parse(path.read_bytes())
            except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
                self.unreadable.add(path.name)
                continue
            if path == layout.hold(hold.volume_id):
                self._holds[hold.volume_id] = hold
            else:
                self.unreadable.add(path.name)

    def get(self, volume_id: str) -> Hold | None:
        with self._lock:
            return self._holds.get(volume_id)

    def all(self) -> list[Hold]:
        with self._lock:
            return list(self._holds.values())

    def put(self, hold: Hold) -> None:
        """Write a hold; durable when this returns."""
        path = self._layout.hold(hold.volume_id)
        write_file(path, _render(hold), scratch=self._layout.assembly)
        with self._lock:
            new = hold.volume_id not in self._holds
            self._holds[hold.volume_id] = hold
            self.unreadable.discard(path.name)
        if new:
            self._changed()

    def drop(self, volume_id: str) -> Hold | None:
        """End a hold, also an unreadable one; durable when this returns.

        Returns:
            The hold that ended, or None if there was none that could be read.

        """
        path = self._layout.hold(volume_id)
        with self._lock:
            if volume_id not in self._holds and path.name not in self.unreadable:
                return None
        path.unlink(missing_ok=True)
        fsync_directory(path.parent)
        with self._lock:
            self.unreadable.discard(path.name)
            hold = self._holds.pop(volume_id, None)
        self._changed()
        return hold

    def held(self) -> set[str]:
        """Manifest digests that some volume holds."""
        with self._lock:
            return {hold.manifest for hold in self._holds.values()}


def _render(hold: Hold) -> bytes:
    return json.dumps({"version": _VERSION, **asdict(hold)}, indent=1, sort_keys=True).encode()


def _parse(data: bytes) -> Hold:
    document: dict[str, Any] = json.loads(data)
    if document.pop("version") != _VERSION or not is_digest(document["manifest"]):
        raise ValueError("not a hold of this version")
    targets = {
        str(path): Target(_capability(item["capability"]), exactly(bool, item["read_only"]))
        for path, item in document["targets"].items()
    }
    context = {str(name): exactly(str, value) for name, value in document["context"].items()}
    since = float(document["since"])
    if not math.isfinite(since):
        raise ValueError("not a time")
    return Hold(
        volume_id=exactly(str, document["volume_id"]),
        manifest=document["manifest"],
        staging_path=exactly(str, document["staging_path"]),
        capability=_capability(document["capability"]),
        context=context,
        bytes=exactly(int, document["bytes"]),
        files=exactly(int, document["files"]),
        pin=exactly(bool, document["pin"]),
        capacity=exactly(int, document["capacity"]),
        since=since,
        targets=targets,
        claim=_claim(document.get("claim")),  # files of the first release lack this one and the next
        ephemeral=exactly(bool, document.get("ephemeral", False)),
    )


def _claim(item: dict[str, Any] | None) -> Claim | None:
    if item is None:
        return None
    uid = item["uid"]
    return Claim(
        exactly(str, item["namespace"]), exactly(str, item["name"]), None if uid is None else exactly(str, uid)
    )


def _capability(item: dict[str, Any]) -> Capability:
    return Capability(AccessMode(item["mode"]), bool(item["block"]), str(item["fs_type"]), tuple(item["mount_flags"]))
