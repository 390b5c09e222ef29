"""Holding: what staged and inline volumes have in common: a hold on disk, and the warm-up that brings what it holds."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from csi_model.core.fields import Auth
from csi_model.core.manifest import Manifest
from csi_model.core.volume import VolumeSpec
from csi_model.errors import CsiModelError, InProgress, NotStaged
from csi_model.node.locks import VolumeLocks
from csi_model.node.readahead import ReadAhead
from csi_model.node.telling import Listener
from csi_model.node.warmer import Warmer
from csi_model.node.warmup import Warmup
from csi_model.settings import WarmerSettings
from csi_model.sources.base import Source
from csi_model.store.durable import translated
from csi_model.store.holds import Hold
from csi_model.store.store import Store

log = logging.getLogger(__name__)
OpenSource = Callable[[VolumeSpec, Mapping[str, str]], Source]


class Holding:
    """The holds of this node's volumes.

    Args:
        store: this node's disk.
        warmer: brings what isn't there.
        read_ahead: brings what is there into memory.
        open_source: opens a volume's source with the given CSI secrets.
        locks: one call at a time per volume.
        is_mounted: whether a path is a live mount.
        settings: how long a call waits.

    """

    def __init__(
        self,
        store: Store,
        warmer: Warmer,
        read_ahead: ReadAhead,
        *,
        open_source: OpenSource,
        locks: VolumeLocks,
        is_mounted: Callable[[str], bool],
        settings: WarmerSettings,
    ) -> None:
        self._store = store
        self._warmer = warmer
        self._read_ahead = read_ahead
        self.open_source = open_source
        self._locks = locks
        self._is_mounted = is_mounted
        self._settings = settings

    # with the volume's lock

    def put(self, hold: Hold) -> None:
        """Write a hold; raises StoreFull or StoreUnusable."""
        with translated(f"holding volume {hold.volume_id}"):
            self._store.holds.put(hold)

    def settle(self, hold: Hold) -> Path | None:
        """Return the tree if it is here, and mark it as the hold demands."""
        root = self._store.tree(hold.manifest)
        if root is not None and hold.pin:
            with translated("pinning a copy"):
                self._store.trees.pin(hold.manifest)
        return root

    def want(
        self, hold: Hold, manifest: Manifest, secrets: Mapping[str, str], *, urgent: bool = True
    ) -> tuple[Warmup, bool]:
        """Join the warm-up of what a volume holds, or start it; as :meth:`Warmer.want`."""
        spec = VolumeSpec.from_context(hold.context)
        listener = Listener(hold.claim, str(spec.source)) if hold.claim is not None else None
        open_source = partial(self.open_source, spec, dict(secrets))
        return self._warmer.want(manifest, hold.volume_id, open_source, urgent=urgent, listener=listener)

    def drop(self, volume_id: str) -> None:
        """End the hold of a volume, if there is one; the copy stays until it is evicted."""
        with translated(f"releasing volume {volume_id}"):
            hold = self._store.holds.drop(volume_id)
            if hold is not None:
                self._warmer.leave(hold.manifest, volume_id)
                self._read_ahead.leave(hold.manifest, volume_id)
                with suppress(FileNotFoundError):  # it wasn't staged yet
                    self._store.trees.touch(hold.manifest)

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
                f"the copy of {spec.source} isn't whole on this node (its staging was cut off, or it was evicted by "
                "hand, or damaged): kubelet's next NodeStage brings it; if pods on this node have had it already, "
                "delete the pods that use the claim here, and the next one gets it"
            )
        warmup, _ = self.want(hold, manifest, {}, urgent=urgent)
        return InProgress(f"staging {spec.source} again: {warmup.progress().words()}")

    # without it

    def wait(self, hold: Hold, warmup: Warmup, *, started: bool, timeout: float) -> None:
        """Wait until a warm-up has brought what a volume holds.

        The call that started it answers early, so that people see progress; later ones wait longer, since kubelet's
        back-off grows with every call that fails.

        Args:
            hold: of the volume.
            warmup: joined for it.
            started: whether this call started it.
            timeout: seconds that the caller can wait.

        Raises:
            InProgress: not there yet, or not wanted any more.
            SourceError, NodeError: the warm-up failed; :meth:`release_after` is the caller's to call.

        """
        volume_id, source = hold.volume_id, VolumeSpec.from_context(hold.context).source
        if not warmup.wait(volume_id, min(timeout, self._patience(started=started))):
            raise InProgress(f"staging {source}: {warmup.progress().words()}")
        with self._locks.of(volume_id):
            if self._store.holds.get(volume_id) is None:
                raise InProgress(f"volume {volume_id} was given up while it was being staged")
            if self.settle(hold) is None:
                raise InProgress(f"the copy of {source} was found damaged just now and is fetched again")

    def _patience(self, *, started: bool) -> float:
        return self._settings.first_answer if started else self._settings.hold

    def release_after(self, volume_id: str, error: BaseException) -> None:
        """End the hold of a volume that no pod uses after a final error: kubelet forgets the volume then."""
        if isinstance(error, CsiModelError) and error.transient:
            return
        with self._locks.of(volume_id):
            hold = self._store.holds.get(volume_id)
            if hold is not None and not any(map(self._is_mounted, hold.targets)):  # a reboot leaves targets unmounted
                self.drop(volume_id)

    def collect(self, volume_id: str, is_live: Callable[[Hold], bool]) -> bool:
        """End the hold of a volume that nobody will give up, unless it turns out to be live; tells whether it did."""
        with self._locks.of(volume_id):
            hold = self._store.holds.get(volume_id)
            if hold is None or is_live(hold):
                return False
            self.drop(volume_id)
            return True

    def resume(self) -> None:
        """Go on with what an earlier life of the agent was bringing, where that needs no secrets."""
        for volume_id in [hold.volume_id for hold in self._store.holds.all()]:
            try:
                with self._locks.of(volume_id):  # else it could be given up meanwhile, and be wanted for ever
                    hold = self._store.holds.get(volume_id)
                    if hold is not None and self._store.tree(hold.manifest) is None:
                        log.info("volume %s: %s", volume_id, self.bring_again(hold, urgent=False))
            except CsiModelError as error:
                log.warning("can't go on staging volume %s: %s", volume_id, error)
