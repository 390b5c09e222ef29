"""Stage and unstage: the hold first, so that eviction can't win the race; then the copy."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from csi_model.core import capability
from csi_model.core.manifest import Manifest
from csi_model.core.volume import REVISION_KEY, VolumeRecord, VolumeSpec, revision_of
from csi_model.errors import InvalidArgument, StoreUnusable, TargetInUse, VolumeExists, VolumeNotFound
from csi_model.node.holding import Holding
from csi_model.node.locks import VolumeLocks
from csi_model.node.readahead import ReadAhead
from csi_model.node.requests import StageRequest
from csi_model.node.telling import Telling
from csi_model.store.holds import Hold
from csi_model.store.store import Store

Lookup = Callable[[str], VolumeRecord | None]


class Staging:
    """NodeStageVolume and NodeUnstageVolume, idempotent.

    Args:
        store: this node's disk.
        holding: holds, and waits for what they hold.
        read_ahead: brings what is there into memory, for the pod that is arriving.
        lookup: the registry's record of a volume, None if there is none; asked only when there is no hold yet.
        locks: shared with publishing.
        is_mounted: whether a path is a live mount.
        telling: counts the calls that find their copy here.

    """

    def __init__(
        self,
        store: Store,
        holding: Holding,
        read_ahead: ReadAhead,
        *,
        lookup: Lookup,
        locks: VolumeLocks,
        is_mounted: Callable[[str], bool],
        telling: Telling,
    ) -> None:
        self._store = store
        self._holding = holding
        self._read_ahead = read_ahead
        self._lookup = lookup
        self._locks = locks
        self._is_mounted = is_mounted
        self._telling = telling

    def stage(self, request: StageRequest, *, timeout: float) -> None:
        """Make sure that the whole verified copy is on this node, and hold it; waits for the warm-up inside the call.

        Args:
            request: what to stage where.
            timeout: seconds that the caller can wait.

        Raises:
            InProgress: not there yet; the text tells the progress.
            VolumeNotFound: no volume has this id.
            RecordPending: its record isn't there yet.
            VolumeExists: staged with another capability or elsewhere.
            InvalidArgument: the volume_context isn't this volume's, or expects another revision.
            SourceError, NodeError: the warm-up failed. If the error is final, the hold is released: kubelet
                forgets the volume then and won't unstage it.

        """
        began = time.monotonic()
        with self._locks.of(request.volume_id):
            hold, manifest = self._hold(request)
            if (root := self._holding.settle(hold)) is not None:
                self._read_ahead.want(hold.manifest, hold.volume_id, root)
                self._telling.already(time.monotonic() - began)
                return
            warmup, started = self._holding.want(hold, manifest or self._manifest(hold), request.secrets)
        try:
            self._holding.wait(hold, warmup, started=started, timeout=timeout)
        except BaseException as error:
            self._holding.release_after(request.volume_id, error)
            raise

    def _hold(self, request: StageRequest) -> tuple[Hold, Manifest | None]:
        """Return the volume's hold, made now if need be, and its Manifest if that had to be read for it."""
        capability.check(request.capability)
        hold = self._store.holds.get(request.volume_id)
        if hold is None:
            return self._new_hold(request)
        _check_same(hold, request)
        if hold.staging_path != _text(request.staging_path):
            hold = replace(hold, staging_path=_text(request.staging_path))
            self._holding.put(hold)
        return hold, None

    def _manifest(self, hold: Hold) -> Manifest:
        """Return the Revision of a held volume; read only when it has to be staged, as it can be long."""
        manifest = self._store.manifest(hold.manifest)
        if manifest is None:
            manifest = self._record(hold.volume_id).manifest
            if manifest.digest != hold.manifest:
                raise StoreUnusable(f"volume {hold.volume_id} is held as another revision than its record says")
            self._store.save_manifest(manifest)
        return manifest

    def _new_hold(self, request: StageRequest) -> tuple[Hold, Manifest]:
        asked = VolumeSpec.from_context(request.context).context()
        record = self._record(request.volume_id)
        if asked != record.spec.context():
            raise InvalidArgument("volume_context", f"is not the one that volume {request.volume_id} was created with")
        _check_revision(request.context, request.volume_id, record.manifest.digest)
        self._store.save_manifest(record.manifest)
        hold = Hold(
            volume_id=request.volume_id,
            manifest=record.manifest.digest,
            staging_path=_text(request.staging_path),
            capability=request.capability,
            context=asked,
            bytes=record.manifest.size,
            files=record.manifest.files,
            pin=record.wanted.pin,
            capacity=record.capacity,
            since=time.time(),
            claim=record.claim,
        )
        self._holding.put(hold)
        return hold, record.manifest

    def _record(self, volume_id: str) -> VolumeRecord:
        record = self._lookup(volume_id)
        if record is None:
            raise VolumeNotFound(f"there is no volume {volume_id}: was its PersistentVolume made by this driver?")
        return record

    def unstage(self, volume_id: str, staging_path: Path) -> None:
        """End the hold of a volume; the copy stays until it is evicted. What isn't staged is no error.

        Answers at once also while the volume is being staged. Another volume at the same path, or this volume at
        another path, is left alone.

        Raises:
            TargetInUse: it is still published.

        """
        with self._locks.of(volume_id):
            hold = self._store.holds.get(volume_id)
            if hold is not None and (hold.ephemeral or hold.staging_path != _text(staging_path)):
                return
            live = [target for target in hold.targets if self._is_mounted(target)] if hold is not None else []
            if live:  # without the hold nobody would know whose target it is
                raise TargetInUse(f"volume {volume_id} is still published at {live[0]}: unpublish it first")
            self._holding.drop(volume_id)


def _text(path: Path) -> str:
    return os.path.normpath(path)


def _check_same(hold: Hold, request: StageRequest) -> None:
    if hold.ephemeral:
        raise VolumeExists(f"volume {hold.volume_id} is an inline volume of a pod on this node")
    if hold.capability != request.capability:
        raise VolumeExists(f"volume {hold.volume_id} is staged already with another capability")
    if VolumeSpec.from_context(request.context).context() != dict(hold.context):
        raise VolumeExists(f"volume {hold.volume_id} is staged already with another volume_context")
    _check_revision(request.context, hold.volume_id, hold.manifest)
    if hold.staging_path != _text(request.staging_path) and os.path.isdir(hold.staging_path):  # noqa: PTH112 - a text
        raise VolumeExists(f"volume {hold.volume_id} is staged already at {hold.staging_path}")


def _check_revision(context: Mapping[str, str], volume_id: str, manifest: str) -> None:
    expected = revision_of(context)
    if expected not in (None, manifest):
        raise InvalidArgument(
            f"volume_context.{REVISION_KEY}",
            f"is {expected}, volume {volume_id} is {manifest}: a volume never changes, another revision is another one",
        )
