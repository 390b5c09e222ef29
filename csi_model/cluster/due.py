"""Due: names of things to look at, each not before its time, and by one worker at a time."""

import heapq
import threading
from collections.abc import Callable
from time import monotonic

from csi_model.core.backoff import pause_after

_PAUSE, _MAX_PAUSE = 1.0, 300.0  # seconds; doubles with each failure in a row, with jitter


class Due:
    """A queue that forgets nothing and holds each name once. Safe to use from many threads.

    A name that is added while a worker has it is due again when the worker is done with it.

    Args:
        clock: seconds.

    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._times: dict[str, float] = {}  # the truth; an entry of the heap that says otherwise is an old one
        self._heap: list[tuple[float, str]] = []
        self._taken: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._closed = False

    def add(self, name: str) -> None:
        """Make a name due now."""
        with self._changed:
            if name in self._taken:
                self._again.add(name)
            else:
                self._set(name, self._clock())

    def take(self) -> str | None:
        """Wait for the next name that is due, and take it; None when the queue is closed."""
        with self._changed:
            while not self._closed:
                wait = self._until_next()
                if wait is not None and wait <= 0:
                    _, name = heapq.heappop(self._heap)
                    del self._times[name]
                    self._taken.add(name)
                    return name
                self._changed.wait(wait)
            return None

    def done(self, name: str) -> None:
        """Give a name back: there is nothing more to do about it."""
        with self._changed:
            self._failures.pop(name, None)
            self._give_back(name, None)

    def failed(self, name: str) -> None:
        """Give a name back to be tried again after a while."""
        with self._changed:
            failures = self._failures[name] = self._failures.get(name, 0) + 1
            self._give_back(name, self._clock() + pause_after(failures, _PAUSE, _MAX_PAUSE))

    def close(self) -> None:
        """Let every worker go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _give_back(self, name: str, when: float | None) -> None:
        self._taken.discard(name)
        if name in self._again:
            self._again.discard(name)
            when = self._clock()
        if when is not None:
            self._set(name, when)

    def _set(self, name: str, when: float) -> None:
        self._times[name] = when
        heapq.heappush(self._heap, (when, name))
        self._changed.notify()

    def _until_next(self) -> float | None:
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] - self._clock() if self._heap else None
