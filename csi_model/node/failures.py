"""Failures: what couldn't be brought to this node, why, and when it is tried again."""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from csi_model.core.backoff import pause_after
from csi_model.errors import CsiModelError, StoreFull

_PAUSE, _MAX_PAUSE = 1.0, 300.0  # seconds; doubles with each failure in a row, with jitter
_URGENT = 30.0  # seconds at most, while a pod waits


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a Revision isn't here.

    Attributes:
        text: for people.
        bytes: size of the Revision; 0 if it isn't known.
        count: failures in a row.
        since: when the last one was, by the clock.
        pause: seconds until it is tried again.
        room: a mark of the room that there was and didn't suffice; None if that wasn't the reason.

    """

    text: str
    bytes: int
    count: int
    since: float
    pause: float
    room: int | None


class Failures:
    """Failures by Revision. Safe to use from many threads.

    Args:
        room: a mark of the room that there is; when it is another one, what had no room is tried again at once.
        clock: seconds, monotonic.

    """

    def __init__(self, room: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._room = room
        self._clock = clock
        self._lock = threading.Lock()
        self._all: dict[str, Failure] = {}

    def all(self) -> dict[str, Failure]:
        """Return them by Revision."""
        with self._lock:
            return dict(self._all)

    def note(self, revision: str, error: Exception, size: int) -> bool:
        """Note one more failure of a Revision (of so many bytes; 0 if that isn't known); tell whether it is news."""
        # What isn't ours may say anything, also a secret.
        text = str(error) if isinstance(error, CsiModelError) else "an internal error, which the agent's log tells"
        with self._lock:
            earlier = self._all.get(revision)
            count = earlier.count + 1 if earlier else 1
            pause = pause_after(count, _PAUSE, _MAX_PAUSE)
            room = self._room() if isinstance(error, StoreFull) else None
            size = size or (earlier.bytes if earlier else 0)
            self._all[revision] = Failure(text, size, count, self._clock(), pause, room)
            return earlier is None or earlier.text != text

    def forget(self, revision: str) -> None:
        """Note that a Revision is here."""
        with self._lock:
            self._all.pop(revision, None)

    def keep(self, revisions: Collection[str]) -> None:
        """Forget all but these."""
        with self._lock:
            self._all = {it: failure for it, failure in self._all.items() if it in revisions}

    def wait(self, revision: str, *, urgent: bool) -> float:
        """Return the seconds until a Revision may be tried (again), sooner if a pod waits; zero or less for now."""
        with self._lock:
            failure = self._all.get(revision)
        if failure is None or failure.room not in (None, self._room()):
            return 0.0
        return failure.since + (min(failure.pause, _URGENT) if urgent else failure.pause) - self._clock()
