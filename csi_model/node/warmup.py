"""Warmup: one running effort to bring a Revision here, and the volumes that want it."""

import threading
from collections.abc import Callable

from csi_model.core.manifest import Manifest
from csi_model.core.warmth import Progress
from csi_model.sources.base import Source
from csi_model.transfer.fetching import Stopped
from csi_model.transfer.meter import Meter

Opener = Callable[[], Source]
"""Opens a source with one volume's rights."""


class Warmup:
    """One running effort to bring a Revision here.

    Its condition guards what it knows of the volumes that want it; nobody waits for anything else while holding it.

    Attributes:
        manifest: the Revision.
        meter: how far it is.
        stop: set when it shall end; never cleared.

    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.meter = Meter(manifest.size, manifest.files)
        self.stop = threading.Event()
        self._changed = threading.Condition()
        self._wanters: dict[str, Opener] = {}
        self._awaited: set[str] = set()  # volumes that a pod waits for
        self._failures: dict[str, BaseException] = {}
        self._finished = False
        self._failure: BaseException | None = None
        self._grace: threading.Timer | None = None

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
            self._changed.wait_for(lambda: self._finished or volume_id in self._failures, timeout)
            failure = self._failures.get(volume_id) or self._failure
            if failure is not None:
                raise failure
            return self._finished

    @property
    def refused(self) -> bool:
        """Whether the rights of a volume that wants it, or wanted it, didn't suffice."""
        with self._changed:
            return bool(self._failures)

    def urgent(self) -> bool:
        """Tell whether a pod waits for one of the volumes that want it."""
        with self._changed:
            return not self._awaited.isdisjoint(self._wanters)

    def join(self, volume_id: str, open_source: Opener, *, urgent: bool) -> bool:
        """Let a volume want it, also again with other rights; False if it is too late for that."""
        with self._changed:
            if self.stop.is_set() or self._finished:
                return False
            self._cancel_grace()
            self._failures.pop(volume_id, None)
            self._wanters[volume_id] = open_source
            self._awaited.discard(volume_id)
            if urgent:
                self._awaited.add(volume_id)
            self._changed.notify_all()
            return True

    def leave(self, volume_id: str, grace: float) -> None:
        """Let a volume not want it any more; it stops after ``grace`` seconds if nobody comes meanwhile."""
        with self._changed:
            if self._wanters.pop(volume_id, None) is not None and not self._wanters and not self._finished:
                self._cancel_grace()
                self._grace = threading.Timer(grace, self._stop_if_unwanted)
                self._grace.daemon = True
                self._grace.start()

    def _cancel_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _stop_if_unwanted(self) -> None:
        with self._changed:
            if not self._wanters:
                self._end()

    def cancel(self) -> None:
        """Let it end soon, whoever wants it."""
        with self._changed:
            self._end()

    def _end(self) -> None:
        self.stop.set()
        self._changed.notify_all()

    def next_wanter(self) -> tuple[str, Opener]:
        """Return somebody whose rights can be used; waits through the grace if all have left.

        Raises:
            Stopped: nobody is left.

        """
        with self._changed:
            while not self.stop.is_set():
                for wanter in self._wanters.items():
                    return wanter
                if self._grace is None:  # all were told that their rights don't suffice
                    self.stop.set()
                else:
                    self._changed.wait(self._grace.interval)
        raise Stopped

    def fail(self, volume_id: str, open_source: Opener, error: BaseException) -> bool:
        """Tell one volume that these rights don't suffice; False if it has come with others meanwhile, or has left."""
        with self._changed:
            if self._wanters.get(volume_id) is not open_source:
                return False
            del self._wanters[volume_id]
            self._failures[volume_id] = error
            self._changed.notify_all()
            return True

    def finish(self, error: BaseException | None) -> None:
        """Tell everybody how it ended."""
        with self._changed:
            self._cancel_grace()
            self._failure = error
            self._finished = True
            self._changed.notify_all()
