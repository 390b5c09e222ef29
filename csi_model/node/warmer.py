"""Warmer: one warm-up per Revision however many volumes want it.

A warm-up outlives the call that began it, and stops soon after the last volume that wanted it left; what it has
fetched stays on the disk for the next one. If one volume's credentials turn out not to suffice, only that volume is
told so and the warm-up goes on with another's.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import closing

from csi_model.core.manifest import Manifest
from csi_model.core.units import bytes_text, duration_text
from csi_model.core.warmth import Progress
from csi_model.errors import InProgress, SourceDenied, SourceUnauthenticated
from csi_model.settings import WarmerSettings
from csi_model.sources.base import Source
from csi_model.store.store import Store
from csi_model.transfer.engine import Engine
from csi_model.transfer.fetching import Stopped
from csi_model.transfer.meter import Meter

log = logging.getLogger(__name__)


class Warmup:
    """One running effort to bring a Revision here.

    Attributes:
        manifest: the Revision.

    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.meter = Meter(manifest.size, manifest.files)
        self.stop = threading.Event()
        self.finished = threading.Event()
        self.wanters: dict[str, Callable[[], Source]] = {}
        self._changed = threading.Condition()
        self._failures: dict[str, BaseException] = {}
        self._failure: BaseException | None = None

    def progress(self) -> Progress:
        """Return how far it is."""
        return self.meter.progress()

    def wait(self, volume_id: str, timeout: float) -> bool:
        """Wait until the Revision is staged.

        Args:
            volume_id: on whose behalf.
            timeout: seconds.

        Returns:
            Whether it is; False when the time is over.

        Raises:
            InProgress: the warm-up was stopped because nobody wanted it.
            CsiModelError: it failed, for all or for this volume.

        """
        with self._changed:
            self._changed.wait_for(lambda: self.finished.is_set() or volume_id in self._failures, timeout)
            failure = self._failures.get(volume_id) or self._failure
        if failure is not None:
            raise failure
        return self.finished.is_set()

    def fail(self, volume_id: str, error: BaseException) -> None:
        """Tell one volume that its rights don't suffice."""
        with self._changed:
            self.wanters.pop(volume_id, None)
            self._failures[volume_id] = error
            self._changed.notify_all()

    def finish(self, error: BaseException | None) -> None:
        """Tell everybody how it ended."""
        with self._changed:
            self._failure = error
            self.finished.set()
            self._changed.notify_all()


class Warmer:
    """The warm-ups of one node.

    Args:
        store: where Revisions are staged.
        engine: how their bytes come.
        settings: how long an unwanted warm-up goes on.

    """

    def __init__(self, store: Store, engine: Engine, settings: WarmerSettings) -> None:
        self._store = store
        self._engine = engine
        self._settings = settings
        self._lock = threading.Lock()
        self._running: dict[str, Warmup] = {}
        self._threads: set[threading.Thread] = set()
        self._timers: set[threading.Timer] = set()

    def want(self, manifest: Manifest, volume_id: str, open_source: Callable[[], Source]) -> tuple[Warmup, bool]:
        """Join the warm-up of a Revision, or start it.

        Args:
            manifest: the Revision.
            volume_id: who wants it; until :meth:`leave`.
            open_source: opens its source with this volume's rights.

        Returns:
            The warm-up, and whether this call started it.

        """
        with self._lock:
            warmup = self._running.get(manifest.digest)
            started = warmup is None or warmup.stop.is_set()
            if warmup is None or started:
                warmup = self._running[manifest.digest] = Warmup(manifest)
            warmup.wanters[volume_id] = open_source
            if started:
                thread = threading.Thread(
                    target=self._run, args=(warmup,), name=f"warm-up-{manifest.digest[:12]}", daemon=True
                )
                self._threads.add(thread)
                thread.start()
        return warmup, started

    def leave(self, manifest: str, volume_id: str) -> None:
        """Note that a volume doesn't want a Revision any more; the warm-up stops soon after the last one left."""
        with self._lock:
            warmup = self._running.get(manifest)
            if warmup is None or warmup.wanters.pop(volume_id, None) is None or warmup.wanters:
                return
            timer = threading.Timer(self._settings.unwanted_grace, self._stop_if_unwanted, args=(warmup,))
            timer.daemon = True
            self._timers.add(timer)
            timer.start()

    def _stop_if_unwanted(self, warmup: Warmup) -> None:
        with self._lock:
            self._timers = {timer for timer in self._timers if timer is not threading.current_thread()}
            if not warmup.wanters and not warmup.finished.is_set():
                log.info("stopping the warm-up of revision %s: nobody wants it", warmup.manifest.digest[:12])
                warmup.stop.set()

    def find(self, manifest: str) -> Warmup | None:
        """Return the running warm-up of a Revision, or None."""
        with self._lock:
            return self._running.get(manifest)

    def all(self) -> list[Warmup]:
        """Return the running warm-ups."""
        with self._lock:
            return list(self._running.values())

    def close(self) -> None:
        """Stop all warm-ups and wait for them; what is durable stays."""
        with self._lock:
            for timer in self._timers:
                timer.cancel()
            for warmup in self._running.values():
                warmup.stop.set()
            threads = list(self._threads) + list(self._timers)
        for thread in threads:
            thread.join()

    def _run(self, warmup: Warmup) -> None:
        error: BaseException | None = None
        try:
            self._bring(warmup)
        except Stopped:
            error = InProgress("the warm-up was stopped because nobody wanted it any more; the next call resumes it")
        except BaseException as failure:  # noqa: BLE001 - it is told to everybody who waits
            error = failure
            log.warning("the warm-up of revision %s failed: %s", warmup.manifest.digest[:12], failure)
        with self._lock:
            if self._running.get(warmup.manifest.digest) is warmup:
                del self._running[warmup.manifest.digest]
            self._threads.discard(threading.current_thread())
        warmup.finish(error)

    def _bring(self, warmup: Warmup) -> None:
        manifest = warmup.manifest
        with self._store.wanted(manifest):
            while self._store.tree(manifest.digest) is None:
                volume_id, open_source = self._next_wanter(warmup)
                try:
                    with closing(open_source()) as source:
                        self._engine.bring(manifest, source, warmup.meter, warmup.stop)
                    self._store.assemble(manifest)
                except (SourceDenied, SourceUnauthenticated) as error:
                    warmup.fail(volume_id, error)
                except LookupError:  # a blob was condemned as damaged meanwhile: plan again
                    continue
        progress = warmup.progress()
        log.info(
            "staged revision %s: %s, %s fetched in %s, %s shared",
            manifest.digest[:12], bytes_text(manifest.size), bytes_text(progress.fetched),
            duration_text(warmup.meter.elapsed()), bytes_text(progress.shared),
        )  # fmt: skip

    def _next_wanter(self, warmup: Warmup) -> tuple[str, Callable[[], Source]]:
        """Return somebody whose rights can be used; waits through the grace if all have left."""
        while not warmup.stop.is_set():
            with self._lock:
                for volume_id, open_source in warmup.wanters.items():
                    return volume_id, open_source
                if not any(timer.is_alive() for timer in self._timers):
                    warmup.stop.set()
            warmup.stop.wait(self._settings.unwanted_grace)
        raise Stopped
