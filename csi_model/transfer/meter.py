"""Meter: counts bytes as they land, and tells the rate over the last seconds."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from csi_model.core import treehash
from csi_model.core.warmth import Progress

log = logging.getLogger(__name__)
_WINDOW = 5.0  # seconds: long enough to be steady, short enough to show a stall
_TELL = 5.0  # seconds between two lines of log about repeated requests
_STEP = 0.1  # seconds between two samples


class Meter:
    """The progress of one warm-up.

    Args:
        total: bytes of the Revision.
        files: number of its files.
        clock: seconds, monotonic.

    """

    def __init__(self, total: int, files: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._files = files
        self._clock = clock
        self._lock = threading.Lock()
        self._present = 0
        self._fetched = 0
        self._retries = 0
        self._last_told = -_TELL
        self._started = clock()
        self._samples: deque[tuple[float, int]] = deque([(self._started, 0)])
        self.note = ""

    def found(self, present: int) -> None:
        """Set how many bytes of the Revision are here; what this warm-up didn't fetch counts as shared."""
        with self._lock:
            self._present = present

    def resumed(self, size: int) -> None:
        """Count bytes of an unfinished ingest that were durable already."""
        with self._lock:
            self._present += size

    def landed(self, size: int) -> None:
        """Count bytes that were fetched and written."""
        now = self._clock()
        with self._lock:
            self._present += size
            self._fetched += size
            if now - self._samples[-1][0] >= _STEP:
                self._samples.append((now, self._fetched))
            self._forget_before(now - _WINDOW)

    def retried(self, error: Exception) -> None:
        """Count a request that had to be repeated, and log it now and then."""
        now = self._clock()
        with self._lock:
            self._retries += 1
            retries, is_due = self._retries, now - self._last_told >= _TELL
            if is_due:
                self._last_told = now
        if is_due:
            log.info("repeated %d requests so far, the last because: %s", retries, error)

    def elapsed(self) -> float:
        """Return seconds since the warm-up began."""
        return self._clock() - self._started

    def progress(self) -> Progress:
        """Return the progress now."""
        now = self._clock()
        with self._lock:
            self._forget_before(now - _WINDOW)
            start, before = self._samples[0]
            present = min(self._total, self._present)
            return Progress(
                total=self._total,
                present=present,
                fetched=self._fetched,
                shared=max(0, present - self._fetched),
                rate=(self._fetched - before) / (now - start) if now > start and self._tells_much() else 0.0,
                files=self._files,
                retries=self._retries,
                note=self.note,
            )

    def _tells_much(self) -> bool:
        """Whether a rate can be told: on a slow link the small files land long before the first whole span."""
        return self._fetched >= treehash.CHUNK or self._present >= self._total

    def _forget_before(self, moment: float) -> None:
        """Keep one sample from before the window, to measure from; called with the lock held."""
        while len(self._samples) > 1 and self._samples[1][0] <= moment:
            self._samples.popleft()
