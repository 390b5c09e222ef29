"""Streams: the node's threads that fetch, hash and write, shared by all transfers.

Each transfer is a *lane* that has jobs. A stream takes its next job from the lane that is furthest below its share:
an urgent one (a pod waits) counts for eight others, or for as many as there are streams if those are fewer, so it
outruns a background warm-up and yet doesn't starve it. Equals take turns. How many streams run is bounded by the
tuner, and by the memory that their buffers may take.
"""

import mmap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from csi_model.core import treehash
from csi_model.settings import TransferSettings
from csi_model.transfer.buffers import Buffers
from csi_model.transfer.pacing import Pace
from csi_model.transfer.tuning import Tuner

_LOOK = 0.2  # seconds between two looks of an idle stream
_URGENT_SHARES = 8

Job = Callable[[mmap.mmap | None], None]
"""Takes the buffer over that the lane asked for, and never raises."""


class Lane(Protocol):
    """A transfer, as its streams see it. Both methods are called under the streams' lock and only look or move."""

    @property
    def urgent(self) -> bool:
        """Whether somebody waits."""

    def wants(self) -> int | None:
        """Return the bytes of buffer that the next job needs, 0 for none; None if there is no job just now."""

    def take(self) -> Job:
        """Hand the next job out, the one that :meth:`wants` was about."""


class Streams:
    """A pool of threads over lanes.

    Args:
        settings: how many, how much memory, how fast.

    """

    def __init__(self, settings: TransferSettings) -> None:
        self.buffers = Buffers(max(settings.buffer_bytes, treehash.CHUNK))
        self.pace = Pace(settings.rate_limit)
        self._tuner = Tuner(settings.streams_least, settings.streams, settings.streams_most)
        self._changed = threading.Condition()
        self._active: dict[Lane, int] = {}
        self._busy = 0
        self._threads = 0

    @contextmanager
    def serving(self, lane: Lane) -> Iterator[None]:
        """Work on a lane's jobs while the block runs; afterwards none of them is running."""
        try:
            with self._changed:
                self._active[lane] = 0
                self._recruit()
            yield
        finally:
            with self._changed:
                self._changed.wait_for(lambda: self._active[lane] == 0)
                del self._active[lane]
                self._changed.notify_all()

    def wake(self) -> None:
        """Look again: a lane has new jobs, or memory came back."""
        with self._changed:
            self._changed.notify_all()

    def give_back(self, buffer: mmap.mmap) -> None:
        """Return a buffer that a job was given."""
        self.buffers.give_back(buffer)
        self.wake()

    def received(self, size: int) -> None:
        """Count bytes that arrived, for the tuner."""
        with self._changed:
            limit = self._tuner.limit
            self._tuner.received(size, time.monotonic(), busy=self._busy >= limit)
            if self._tuner.limit > limit:
                self._recruit()

    def slow_down(self) -> None:
        """Use fewer streams: the source asked for it."""
        with self._changed:
            self._tuner.slow_down(time.monotonic())

    @property
    def limit(self) -> int:
        """How many streams may run now."""
        return self._tuner.limit

    def _recruit(self) -> None:
        while self._threads < self._tuner.limit:
            try:
                threading.Thread(target=self._work, name=f"stream-{self._threads}", daemon=True).start()
            except RuntimeError:  # no more threads to be had: fewer streams do the work too
                if not self._threads:
                    raise
                break
            self._threads += 1
        self._changed.notify_all()

    def _work(self) -> None:
        while (turn := self._next_turn()) is not None:
            lane, job, buffer = turn
            try:
                job(buffer)
            finally:
                with self._changed:
                    self._active[lane] -= 1
                    self._busy -= 1
                    self._changed.notify_all()

    def _next_turn(self) -> tuple[Lane, Job, mmap.mmap | None] | None:
        """Wait for a job; None when there are more threads than streams, or no lane at all."""
        with self._changed:
            while self._active and self._threads <= self._tuner.limit:
                for lane in sorted(self._active, key=self._share):
                    size = lane.wants()
                    if size is None:
                        continue
                    buffer = self.buffers.try_take(size) if size else None
                    if size and buffer is None:
                        break  # what comes back next is for this lane: others would take it away bit by bit
                    self._active[lane] = self._active.pop(lane) + 1  # and the last among its equals
                    self._busy += 1
                    return lane, lane.take(), buffer
                self._changed.wait(_LOOK)
            self._threads -= 1
            if not self._threads:
                self.buffers.trim()
            return None

    def _share(self, lane: Lane) -> float:
        # More than there are streams, and an urgent lane would leave none to the others.
        weight = min(_URGENT_SHARES, self._tuner.limit) if lane.urgent else 1
        return (self._active[lane] + 1) / weight
