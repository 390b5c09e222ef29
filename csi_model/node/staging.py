"""Stage and unstage: the hold first, so that eviction can't win the race; then the copy."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from csi_model.core import capability
from csi_model.core.fields import FIELDS, Auth
from csi_model.core.manifest import Manifest
from csi_model.core.volume import SCHEMA_KEY, VolumeRecord, VolumeSpec
from csi_model.errors import (
    CsiModelError,
    InProgress,
    InvalidArgument,
    NotStaged,
    StoreUnusable,
    TargetInUse,
    VolumeExists,
    VolumeNotFound,
)
from csi_model.node.locks import VolumeLocks
from csi_model.node.readahead import ReadAhead
from csi_model.node.requests import StageRequest
from csi_model.node.warmer import Warmer
from csi_model.settings import WarmerSettings
from csi_model.sources.base import Source
from csi_model.store.durable import translated
from csi_model.store.holds import Hold
from csi_model.store.store import Store

log = logging.getLogger(__name__)
OpenSource = Callable[[VolumeSpec, Mapping[str, str]], Source]
Lookup = Callable[[str], VolumeRecord | None]


class Staging:
    """NodeStageVolume and NodeUnstageVolume, idempotent.

    Args:
        store: this node's disk.
        warmer: brings what isn't there.
        read_ahead: brings what is there into memory, for the pod that is arriving.
        lookup: the registry's record of a volume, None if there is none; asked only when there is no hold yet.
        open_source: opens a volume's source with the given CSI secrets.
        locks: shared with publishing.
        is_mounted: whether a path is a live mount.
        settings: how long a call waits.

    """

    def __init__(
        self,
        store: Store,
        warmer: Warmer,
        read_ahead: ReadAhead,
        *,
        lookup: Lookup,
        open_source: OpenSource,
        locks: VolumeLocks,
        is_mounted: Callable[[str], bool],
        settings: WarmerSettings,
    ) -> None:
        self._store = store
        self._warmer = warmer
        self._read_ahead = read_ahead
        self._lookup = lookup
        self._open_source = open_source
        self._locks = locks
        self._is_mounted = is_mounted
        self._settings = settings

    def stage(self, request: StageRequest, *, timeout: float) -> None:
        """Make sure that the whole verified copy is on this node, and hold it.

        Waits for the warm-up inside the call: the one that started it answers early, so that people see progress;
        later ones wait longer, since kubelet's back-off grows with every call that fails.

        Args:
            request: what to stage where.
            timeout: seconds that the caller can wait.

        Raises:
            InProgress: not there yet; the text tells the progress.
            VolumeNotFound: no volume has this id.
            VolumeExists: staged with another capability or elsewhere.
            InvalidArgument: the volume_context isn't this volume's.
            SourceError, NodeError: the warm-up failed. If the error is final, the hold is released: kubelet
                forgets the volume then and won't unstage it.

        """
        with self._locks.of(request.volume_id):
            hold, manifest = self._hold(request)
            if (root := self._settle(hold)) is not None:
                self._read_ahead.want(hold.manifest, hold.volume_id, root)
                return
            manifest = manifest or self._manifest(hold)
            spec = VolumeSpec.from_context(hold.context)
            open_source = partial(self._open_source, spec, dict(request.secrets))
            warmup, started = self._warmer.want(manifest, hold.volume_id, open_source, urgent=True)
        patience = min(timeout, self._settings.first_answer if started else self._settings.hold)
        try:
            staged = warmup.wait(request.volume_id, patience)
        except BaseException as error:
            if not (isinstance(error, CsiModelError) and error.transient):
                self._release(request.volume_id)
            raise
        if not staged:
            raise InProgress(f"staging {spec.source}: {warmup.progress().words()}")
        with self._locks.of(request.volume_id):
            if self._store.holds.get(request.volume_id) is None:
                raise InProgress(f"volume {request.volume_id} was unstaged while it was being staged")
            if self._settle(hold) is None:
                raise InProgress(f"the copy of {spec.source} was found damaged just now and is fetched again")

    def _settle(self, hold: Hold) -> Path | None:
        """Return the tree if it is here, and mark it as the hold demands."""
        root = self._store.tree(hold.manifest)
        if root is not None and hold.pin:
            with translated("pinning a copy"):
                self._store.trees.pin(hold.manifest)
        return root

    def _hold(self, request: StageRequest) -> tuple[Hold, Manifest | None]:
        """Return the volume's hold, made now if need be, and its Manifest if that had to be read for it."""
        capability.check(request.capability)
        hold = self._store.holds.get(request.volume_id)
        if hold is None:
            return self._new_hold(request)
        _check_same(hold, request)
        if hold.staging_path != _text(request.staging_path):
            hold = replace(hold, staging_path=_text(request.staging_path))
            self._put(hold)
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
        VolumeSpec.from_context(request.context)
        record = self._record(request.volume_id)
        context = record.spec.context()
        if _own(request.context) != context:
            raise InvalidArgument("volume_context", f"is not the one that volume {request.volume_id} was created with")
        self._store.save_manifest(record.manifest)
        hold = Hold(
            volume_id=request.volume_id,
            manifest=record.manifest.digest,
            staging_path=_text(request.staging_path),
            capability=request.capability,
            context=context,
            bytes=record.manifest.size,
            files=record.manifest.files,
            pin=record.spec.pin,
            capacity=record.capacity,
            since=time.time(),
        )
        self._put(hold)
        return hold, record.manifest

    def _record(self, volume_id: str) -> VolumeRecord:
        record = self._lookup(volume_id)
        if record is None:
            raise VolumeNotFound(f"there is no volume {volume_id}: was its PersistentVolume made by this driver?")
        return record

    def _put(self, hold: Hold) -> None:
        with translated(f"holding volume {hold.volume_id}"):
            self._store.holds.put(hold)

    def unstage(self, volume_id: str, staging_path: Path) -> None:
        """End the hold of a volume; the copy stays until it is evicted. What isn't staged is no error.

        Answers at once also while the volume is being staged. Another volume at the same path, or this volume at
        another path, is left alone.

        Raises:
            TargetInUse: it is still published.

        """
        with self._locks.of(volume_id):
            hold = self._store.holds.get(volume_id)
            if hold is not None and hold.staging_path != _text(staging_path):
                return
            live = [target for target in hold.targets if self._is_mounted(target)] if hold is not None else []
            if live:  # without the hold nobody would know whose target it is
                raise TargetInUse(f"volume {volume_id} is still published at {live[0]}: unpublish it first")
            self._drop(volume_id)

    def _release(self, volume_id: str) -> None:
        """After a final error: nobody will unstage this volume, so its hold must not stay."""
        with self._locks.of(volume_id):
            hold = self._store.holds.get(volume_id)
            if hold is not None and not hold.targets:
                self._drop(volume_id)

    def _drop(self, volume_id: str) -> None:
        with translated(f"releasing volume {volume_id}"):
            hold = self._store.holds.drop(volume_id)
            if hold is not None:
                self._warmer.leave(hold.manifest, volume_id)
                self._read_ahead.leave(hold.manifest, volume_id)
                with suppress(FileNotFoundError):  # it wasn't staged yet
                    self._store.trees.touch(hold.manifest)

    def collect(self, volume_id: str, is_live: Callable[[Hold], bool]) -> bool:
        """End the hold of a volume that nobody will unstage, unless it turns out to be live; tells whether it did."""
        with self._locks.of(volume_id):
            hold = self._store.holds.get(volume_id)
            if hold is None or is_live(hold):
                return False
            self._drop(volume_id)
            return True

    def bring_again(self, hold: Hold, *, urgent: bool) -> CsiModelError:
        """Start over for a held copy that was lost; returns the error that tells the caller so.

        Args:
            hold: of the volume.
            urgent: whether a pod is known to wait for it.

        """
        spec = VolumeSpec.from_context(hold.context)
        manifest = self._store.manifest(hold.manifest)
        if spec.auth is Auth.SECRET or manifest is None:
            return NotStaged(
                f"the copy of {spec.source} on this node is gone (evicted by hand, or damaged): "
                "delete the pods that use the claim on this node, and it is staged again with the next one"
            )
        open_source = partial(self._open_source, spec, {})
        warmup, _ = self._warmer.want(manifest, hold.volume_id, open_source, urgent=urgent)
        return InProgress(f"staging {spec.source} again: {warmup.progress().words()}")

    def resume(self) -> None:
        """Go on with what an earlier life of the agent was bringing, where that needs no secrets."""
        for volume_id in [hold.volume_id for hold in self._store.holds.all()]:
            try:
                with self._locks.of(volume_id):  # else it could be unstaged meanwhile, and be wanted for ever
                    hold = self._store.holds.get(volume_id)
                    if hold is not None and self._store.tree(hold.manifest) is None:
                        log.info("volume %s: %s", volume_id, self.bring_again(hold, urgent=False))
            except CsiModelError as error:
                log.warning("can't go on staging volume %s: %s", volume_id, error)


def _own(context: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in context.items() if key in FIELDS or key == SCHEMA_KEY}


def _text(path: Path) -> str:
    return os.path.normpath(path)


def _check_same(hold: Hold, request: StageRequest) -> None:
    if hold.capability != request.capability:
        raise VolumeExists(f"volume {hold.volume_id} is staged already with another capability")
    if _own(request.context) != dict(hold.context):
        raise VolumeExists(f"volume {hold.volume_id} is staged already with another volume_context")
    if hold.staging_path != _text(request.staging_path) and os.path.isdir(hold.staging_path):  # noqa: PTH112 - a text
        raise VolumeExists(f"volume {hold.volume_id} is staged already at {hold.staging_path}")
