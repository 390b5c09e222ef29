"""Writes: changes on their way to the API, the urgent ones first.

One change of an object is on its way at a time; a newer one replaces the one that waits. What fails because the API is
not to be had is tried again, later and later; what the API refuses is given back to who decides.
"""

import heapq
import itertools
import logging
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from time import monotonic

from csi_model.cluster.errors import ApiConflict, ApiNotFound, ApiRefused
from csi_model.cluster.steering.bucket import Bucket
from csi_model.core.backoff import pause_after
from csi_model.errors import StoreUnusable

log = logging.getLogger(__name__)
_PAUSE, _MAX_PAUSE = 0.5, 30.0  # seconds; doubles with each failure in a row, with jitter
_NEVER = 3600.0  # seconds: until somebody wakes us


class Rank(IntEnum):
    """What goes first."""

    LABELS = 0
    ORDERS = 1
    STATUS = 2
    ANNOTATION = 3


Target = tuple[str, str, str]
"""What is written of which object: a kind of change, namespace and name."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one object.

    Attributes:
        target: of which object.
        rank: how urgent it is.
        write: does it, and returns the version that the object has then, or 0; raises StoreUnusable.
        done: called with None and that version once it is written, or with why it never will be; from a thread of the
            writes.

    """

    target: Target
    rank: Rank
    write: Callable[[], int]
    done: Callable[[StoreUnusable | None, int], None]


class Writes:
    """Threads that write. Safe to use from many threads.

    Args:
        may: asked right before each write; what isn't allowed is given back.
        bucket: gives leave.
        reserve: tokens of it that only labels and orders may take.
        threads: that write at once.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        may: Callable[[], bool],
        bucket: Bucket,
        *,
        reserve: float = 0.0,
        threads: int = 6,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._may, self._bucket, self._clock = may, bucket, clock
        self._reserve = reserve
        self._changed = threading.Condition()
        self._ready: tuple[OrderedDict[Target, Change], ...] = tuple(OrderedDict() for _ in Rank)
        self._later: dict[Target, tuple[float, Change]] = {}
        self._times: list[tuple[float, int, Target]] = []
        self._number = itertools.count()
        self._flying: dict[Target, Change | None] = {}  # with what replaces it, once it is there
        self._failures: dict[Target, int] = defaultdict(int)
        self._counts: dict[str, int] = defaultdict(int)
        self._closed = self._troubled = False
        self._threads = [threading.Thread(target=self._run, name=f"writes {n}", daemon=True) for n in range(threads)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def put(self, change: Change) -> None:
        """Have a change written; it replaces one of the same target that waits."""
        with self._changed:
            if self._closed:
                return
            if change.target in self._flying:
                self._flying[change.target] = change
            elif change.target in self._later:
                self._later[change.target] = (self._later[change.target][0], change)
            else:
                self._enqueue(change)

    def clear(self) -> None:
        """Drop all that waits, without a word."""
        with self._changed:
            for queue in self._ready:
                queue.clear()
            self._later.clear()
            self._failures.clear()
            self._flying = dict.fromkeys(self._flying)

    @property
    def waiting(self) -> int:
        """How many changes wait."""
        with self._changed:
            return sum(map(len, self._ready)) + len(self._later) + sum(it is not None for it in self._flying.values())

    def counts(self) -> dict[str, int]:
        """Return how many changes of each kind were written since the start."""
        with self._changed:
            return dict(self._counts)

    def settle(self, timeout: float) -> bool:
        """Wait until nothing waits and nothing is on its way; tell whether that is so."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._flying and not self._later and not any(self._ready), timeout
            )  # fmt: skip

    def close(self, timeout: float = 1.0) -> None:
        """Write nothing more but what is on its way.

        Args:
            timeout: seconds to wait for that, in all.

        """
        end = monotonic() + timeout
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.clear()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, end - monotonic()))

    def _enqueue(self, change: Change) -> None:
        for queue in self._ready:
            queue.pop(change.target, None)
        self._ready[change.rank][change.target] = change
        self._changed.notify()

    def _run(self) -> None:
        while (change := self._take()) is not None:
            error: StoreUnusable | None = None
            version = 0
            try:
                if not self._may():  # told, since who asked may never notice that leading was lost and won again
                    raise ApiConflict("this controller doesn't lead just now")
                version = change.write()
            except StoreUnusable as failure:
                error = failure
            self._landed(change, error, version)

    def _take(self) -> Change | None:
        """Wait for a change that may be written now; None when it is over."""
        with self._changed:
            while not self._closed:
                wait = self._wake_the_late()
                change = self._first()
                if change is None:
                    self._changed.wait(wait)
                    continue
                pause = self._bucket.take(leave=self._reserve if change.rank > Rank.ORDERS else 0.0)
                if pause > 0:  # what is less urgent waits too
                    self._changed.wait(min(pause, wait))
                    continue
                del self._ready[change.rank][change.target]
                self._flying[change.target] = None
                return change
            return None

    def _first(self) -> Change | None:
        return next((change for queue in self._ready for change in queue.values()), None)

    def _wake_the_late(self) -> float:
        """Make ready what was to be tried later; return the seconds until the next such."""
        now = self._clock()
        while self._times:
            when, _, target = self._times[0]
            late = self._later.get(target)
            if late is None or late[0] != when:
                heapq.heappop(self._times)
            elif when <= now:
                heapq.heappop(self._times)
                del self._later[target]
                self._enqueue(late[1])
            else:
                return when - now
        return _NEVER

    def _landed(self, change: Change, error: StoreUnusable | None, version: int) -> None:
        final = isinstance(error, ApiConflict | ApiNotFound | ApiRefused)
        again = error is not None and not final
        with self._changed:
            newer = self._flying.pop(change.target, None)
            if error is None:
                self._failures.pop(change.target, None)
                self._counts[change.target[0]] += 1
                if newer is not None:
                    self._enqueue(newer)
            elif newer is not None or again:
                self._put_off(newer or change)
            self._changed.notify_all()
            troubled, self._troubled = self._troubled, again
        if again:
            tell = log.debug if troubled else log.warning  # an API that is down fails a thousand writes alike
            tell("%s of %s aren't written yet: %s", change.target[0], change.target[2], error)
        else:
            change.done(error, version)

    def _put_off(self, change: Change) -> None:
        failures = self._failures[change.target] = self._failures[change.target] + 1
        when = self._clock() + pause_after(failures, _PAUSE, _MAX_PAUSE)
        self._later[change.target] = (when, change)
        heapq.heappush(self._times, (when, next(self._number), change.target))
