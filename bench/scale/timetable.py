"""Does things at their time, several at once."""

import heapq
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

_WORKERS = 16
_DIGITS = re.compile(r"[0-9]{4,}")  # that tell nodes apart
Action = Callable[[], object]


class Timetable:
    """A thread that waits for what is due, and others that do it.

    Attributes:
        failures: how many actions failed, by what was said; a few are no harm, as whoever acts acts again.

    """

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Action]] = []
        self._numbers = count()
        self._latest = 0.0
        self._closed = False
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="agent")
        self._thread = threading.Thread(target=self._run, name="timetable")
        self._thread.start()

    def at(self, due: float, action: Action) -> None:
        """Have something done at a time of the monotonic clock."""
        with self._changed:
            heapq.heappush(self._due, (due, next(self._numbers), action))
            self._changed.notify()

    def soon(self, action: Action) -> None:
        """Have something done now."""
        self.at(time.monotonic(), action)

    def latest(self) -> float:
        """Return by how many seconds the latest action was late since this was asked for last."""
        with self._changed:
            latest, self._latest = self._latest, 0.0
        return latest

    def close(self) -> None:
        """Do nothing more, and wait for what is being done."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._pool.shutdown(cancel_futures=True)

    def _run(self) -> None:
        while (found := self._next()) is not None:
            self._pool.submit(self._do, *found).add_done_callback(self._note)

    def _next(self) -> tuple[float, Action] | None:
        with self._changed:
            while not self._closed:
                pause = self._due[0][0] - time.monotonic() if self._due else None
                if pause is not None and pause <= 0:
                    due, _, action = heapq.heappop(self._due)
                    return due, action
                self._changed.wait(pause)
        return None

    def _do(self, due: float, action: Action) -> None:
        late = time.monotonic() - due
        with self._changed:
            self._latest = max(self._latest, late)
        action()

    def _note(self, future: Future[None]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            with self._changed:
                self.failures[_DIGITS.sub("#", f"{type(error).__name__}: {str(error)[:200]}")] += 1
