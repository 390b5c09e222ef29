"""Warmer: one warm-up per Revision however many volumes want it.

A warm-up outlives the call that began it, and stops soon after the last volume that wanted it left; what it has
fetched stays on the disk for the next one. If one volume's credentials turn out not to suffice, only that volume is
told so and the warm-up goes on with another's.
"""

import logging
import threading
from contextlib import closing

from csi_model.core.manifest import Manifest
from csi_model.core.units import bytes_text, duration_text
from csi_model.errors import (
    CsiModelError,
    InProgress,
    SourceCorrupt,
    SourceDenied,
    SourceUnauthenticated,
    VolumeSpecError,
)
from csi_model.node.telling import Listener, Telling
from csi_model.node.warmup import Opener, Warmup
from csi_model.settings import WarmerSettings
from csi_model.store.base import StagingStore
from csi_model.store.bell import Ring, nobody
from csi_model.transfer.engine import Engine
from csi_model.transfer.fetching import Stopped

log = logging.getLogger(__name__)
_OWN_FAULTS = (SourceDenied, SourceUnauthenticated, VolumeSpecError)
"""Errors that come from one volume's rights or words; another volume of the same Revision may fare better."""
_REFETCHES = 1
"""Times that a warm-up fetches damaged files anew before it calls the source corrupt: a bit may flip on the way."""


class Warmer:
    """The warm-ups of one node.

    Args:
        store: where Revisions are staged.
        engine: how their bytes come.
        settings: how long an unwanted warm-up goes on.
        telling: tells people of the warm-ups; None for silence.
        changed: called when a warm-up has begun or ended, or won't use somebody's rights any more.

    """

    def __init__(
        self,
        store: StagingStore,
        engine: Engine,
        settings: WarmerSettings,
        telling: Telling | None = None,
        *,
        changed: Ring = nobody,
    ) -> None:
        self._ring = changed
        self._store = store
        self.engine = engine
        self._settings = settings
        self._telling = telling or Telling()
        self._lock = threading.Lock()
        self._running: dict[str, Warmup] = {}
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._fetched = 0
        self._shared = 0

    def want(
        self,
        manifest: Manifest,
        volume_id: str,
        open_source: Opener,
        *,
        urgent: bool,
        listener: Listener | None = None,
    ) -> tuple[Warmup, bool]:
        """Join the warm-up of a Revision, or start it.

        Args:
            manifest: the Revision.
            volume_id: who wants it; until :meth:`leave`.
            open_source: opens its source with this volume's rights.
            urgent: whether a pod waits for it: then it outruns what is only brought ahead.
            listener: whom to tell; None for nobody.

        Returns:
            The warm-up, and whether this call started it.

        Raises:
            InProgress: the agent is ending.

        """
        with self._lock:
            if self._closed:
                raise InProgress("the node's agent is stopping; the next one goes on")
            warmup = self._running.get(manifest.digest)
            if warmup is not None and warmup.join(volume_id, open_source, urgent=urgent):
                self._telling.joined(warmup, volume_id, listener)
                return warmup, False
            warmup = Warmup(manifest)
            warmup.join(volume_id, open_source, urgent=urgent)
            if self._store.tree(manifest.digest) is None:  # else there is nothing to tell
                self._telling.joined(warmup, volume_id, listener)
            name = f"warm-up-{manifest.digest[:12]}"
            thread = threading.Thread(target=self._run, args=(warmup,), name=name, daemon=True)
            thread.start()
            self._threads.add(thread)
            self._running[manifest.digest] = warmup
        self._ring()
        return warmup, True

    def leave(self, manifest: str, volume_id: str) -> None:
        """Note that a volume doesn't want a Revision any more; the warm-up stops soon after the last one left."""
        warmup = self.find(manifest)
        if warmup is not None:
            warmup.leave(volume_id, self._settings.unwanted_grace)
            self._telling.left(warmup, volume_id)

    def find(self, manifest: str) -> Warmup | None:
        """Return the running warm-up of a Revision, or None."""
        with self._lock:
            return self._running.get(manifest)

    def all(self) -> list[Warmup]:
        """Return the running warm-ups."""
        with self._lock:
            return list(self._running.values())

    def fetched(self) -> int:
        """Return the bytes that all warm-ups, ended and running, have received from sources."""
        with self._lock:
            return self._fetched + sum(warmup.progress().fetched for warmup in self._running.values())

    def shared(self) -> int:
        """Return the bytes that warm-ups needn't fetch, because they were on this disk already; never shrinks."""
        with self._lock:
            return self._shared

    def close(self) -> None:
        """Stop all warm-ups, wait for them, and begin no more; what was written stays."""
        with self._lock:
            self._closed = True
            for warmup in self._running.values():
                warmup.cancel()
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _run(self, warmup: Warmup) -> None:
        error: BaseException | None = None
        try:
            self._bring(warmup)
        except Stopped:
            why = "the node's agent is stopping" if self._closed else "nobody wanted it any more"
            error = InProgress(f"the warm-up was stopped because {why}; the next call goes on where it stopped")
        except BaseException as failure:  # noqa: BLE001 - it is told to everybody who waits
            error = failure
        self._report(warmup, error)
        with self._lock:
            if self._running.get(warmup.manifest.digest) is warmup:
                del self._running[warmup.manifest.digest]
            progress = warmup.progress()
            self._fetched += progress.fetched
            self._shared += progress.shared if error is None else 0
            self._telling.ended(warmup, error)  # with the lock, so that nobody joins who would never hear of the end
            self._threads.discard(threading.current_thread())
        warmup.finish(error)
        self._ring()

    def _bring(self, warmup: Warmup) -> None:
        manifest = warmup.manifest
        refetches = _REFETCHES
        with self._store.wanted(manifest):
            while self._store.tree(manifest.digest) is None:
                volume_id, open_source = warmup.next_wanter()
                try:
                    with closing(open_source()) as source:
                        self.engine.bring(manifest, source, warmup.meter, warmup.stop, warmup.urgent)
                except SourceCorrupt as error:
                    if refetches == 0:
                        raise
                    refetches -= 1  # what was damaged is thrown away already, so the next pass fetches it anew
                    log.warning("revision %s: %s", manifest.digest[:12], error)
                except _OWN_FAULTS as error:
                    if warmup.fail(volume_id, open_source, error):
                        self._telling.refused(warmup, volume_id, error)
                        self._ring()
                else:
                    self._assemble(manifest)

    def _assemble(self, manifest: Manifest) -> None:
        try:
            self._store.assemble(manifest)
        except LookupError as missing:
            log.info("planning revision %s again: %s was found damaged meanwhile", manifest.digest[:12], missing)

    def _report(self, warmup: Warmup, error: BaseException | None) -> None:
        name, progress = warmup.manifest.digest[:12], warmup.progress()
        if error is None:
            log.info(
                "staged revision %s: %s, %s fetched in %s, %s shared",
                name, bytes_text(progress.total), bytes_text(progress.fetched),
                duration_text(warmup.meter.elapsed()), bytes_text(progress.shared),
            )  # fmt: skip
        elif isinstance(error, InProgress):
            log.info("stopped the warm-up of revision %s: %s", name, progress.words())
        else:
            trace = None if isinstance(error, CsiModelError) else error
            log.warning("the warm-up of revision %s failed: %s", name, error, exc_info=trace)
