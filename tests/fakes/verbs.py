"""Verbs without a store or a source: they remember what they were asked, and misbehave on request."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from csi_model.core.capability import Capability
from csi_model.core.changes import change
from csi_model.core.manifest import Manifest
from csi_model.core.naming import volume_id_of
from csi_model.core.volume import VolumeRecord, VolumeSpec
from csi_model.errors import InProgress, InvalidArgument, InvalidToken, NotStaged, VolumeExists, VolumeNotFound
from csi_model.node.requests import PublishRequest, StageRequest, Usage

PATIENCE = 30.0  # seconds until a test that hangs fails


class Gate:
    """Blocks those who pass while it is closed, and counts them."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self._inside = threading.Semaphore(0)

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def pass_through(self) -> None:
        if not self._open.is_set():
            self._inside.release()
            assert self._open.wait(PATIENCE)

    def wait_for(self, count: int) -> None:
        """Return when so many are blocked."""
        for _ in range(count):
            assert self._inside.acquire(timeout=PATIENCE)


class FakeVolumes:
    """VolumeVerbs in memory."""

    def __init__(self) -> None:
        self.records: dict[str, VolumeRecord] = {}
        self.timeouts: list[float] = []
        self.secrets: list[Mapping[str, str]] = []
        self.gate = Gate()
        self.fail_with: Exception | None = None
        self.reason = ""

    def create(
        self,
        *,
        name: str,
        parameters: Mapping[str, str],
        mutable: Mapping[str, str],
        capabilities: Sequence[Capability],
        required_bytes: int,
        limit_bytes: int,
        secrets: Mapping[str, str],
        timeout: float,
    ) -> VolumeRecord:
        self.timeouts.append(timeout)
        self.secrets.append(secrets)
        self.gate.pass_through()
        if self.fail_with is not None:
            raise self.fail_with
        spec = VolumeSpec.from_parameters({"source": "s3://models/qwen3-8b", **parameters}, mutable)
        manifest = Manifest.of("s3://models", [])
        record = VolumeRecord(volume_id_of(name), name, spec, tuple(capabilities), required_bytes, manifest)
        if self.records.setdefault(record.volume_id, record) != record:
            raise VolumeExists(f"volume {name!r} exists with other arguments")
        return record

    def delete(self, volume_id: str) -> None:
        self.records.pop(volume_id, None)

    def modify(self, volume_id: str, mutable: Mapping[str, str]) -> None:
        self.records[volume_id] = self.get(volume_id).wanting(change(self.get(volume_id).wanted, mutable))

    def get(self, volume_id: str) -> VolumeRecord:
        if volume_id not in self.records:
            raise VolumeNotFound(f"no volume {volume_id!r}")
        return self.records[volume_id]

    def page(self, *, token: str, limit: int) -> tuple[list[VolumeRecord], str]:
        if token and token not in self.records:
            raise InvalidToken(f"the token {token!r} is not one of ours: begin anew")
        after = sorted(volume_id for volume_id in self.records if volume_id > token)
        here = after[: limit or None]
        return [self.records[volume_id] for volume_id in here], here[-1] if len(here) < len(after) else ""

    def validate(
        self,
        volume_id: str,
        *,
        capabilities: Sequence[Capability],
        context: Mapping[str, str],
        parameters: Mapping[str, str],
        mutable: Mapping[str, str],
    ) -> str:
        self.get(volume_id)
        return self.reason


class FakeNode:
    """NodeVerbs in memory."""

    def __init__(self) -> None:
        self.staged: dict[tuple[str, Path], StageRequest] = {}
        self.published: dict[Path, PublishRequest] = {}
        self.timeouts: list[float] = []
        self.gate = Gate()
        self.fail_with: Exception | None = None

    def stage(self, request: StageRequest, *, timeout: float) -> None:
        self.timeouts.append(timeout)
        self.gate.pass_through()
        if self.fail_with is not None:
            raise self.fail_with
        self.staged[request.volume_id, request.staging_path] = request

    def unstage(self, volume_id: str, staging_path: Path) -> None:
        self.staged.pop((volume_id, staging_path), None)

    def publish(self, request: PublishRequest) -> None:
        if self.fail_with is not None:
            raise self.fail_with
        if (request.volume_id, request.staging_path) not in self.staged:
            raise NotStaged(f"volume {request.volume_id!r} isn't staged")
        self.published[request.target_path] = request

    def publish_inline(self, request: PublishRequest, *, timeout: float) -> None:
        self.timeouts.append(timeout)
        self.gate.pass_through()
        if self.fail_with is not None:
            raise self.fail_with
        self.published[request.target_path] = request

    def unpublish(self, volume_id: str, target_path: Path) -> None:
        self.published.pop(target_path, None)

    def stats(self, volume_id: str, path: Path) -> Usage:
        if path not in self.published:
            raise VolumeNotFound(f"volume {volume_id!r} is not at {path}")
        return Usage(total_bytes=100, used_bytes=60, total_files=9, used_files=9)


class FakeKeeper:
    """Keeper of a store with two copies."""

    def __init__(self) -> None:
        self.evicted: list[tuple[str, bool]] = []
        self.fail_with: Exception | None = None

    def status(self) -> dict[str, Any]:
        if self.fail_with is not None:
            raise self.fail_with
        return {"trees": ["aa", "bb"], "free": 2**40}

    def verify(self, manifest: str | None) -> Iterator[dict[str, Any]]:
        for tree in ("aa", "bb"):
            if manifest in (None, tree):
                yield {"tree": tree, "damaged": 0}
        if manifest == "busy":
            yield {"tree": "busy", "damaged": 0}
            raise InProgress("it is being staged")

    def evict(self, target: str, *, dry_run: bool) -> dict[str, Any]:
        if target not in ("aa", "bb"):
            raise InvalidArgument("target", f"{target!r} is not in this store")
        self.evicted.append((target, dry_run))
        return {"freed": 7}
