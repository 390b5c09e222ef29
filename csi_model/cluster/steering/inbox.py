"""Inbox: what the watches tell, in order, until the loop has time for it.

So the inventory belongs to one thread and needs no lock, and a watch is never kept waiting by a decision.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from time import monotonic
from typing import Any

from csi_model.cluster.watching import Key


class Kind(Enum):
    """What a piece of news is about."""

    VOLUMES = "modelvolumes"
    MODEL_NODES = "modelnodes"
    NODES = "nodes"
    PODS = "pods"


@dataclass(frozen=True, slots=True)
class News:
    """One piece.

    Attributes:
        kind: what it is about.
        at: when it was heard.
        key: of the object; None if ``value`` maps the keys of all there are to their values.
        value: the trimmed object; None if it is gone.

    """

    kind: Kind
    at: float
    key: Key | None
    value: Any


class Inbox:
    """Safe to use from many threads.

    Args:
        clock: seconds, monotonic.

    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._news: deque[News] = deque()
        self._woken = False

    def listener(self, kind: Kind) -> "InboxListener":
        """Make a listener for one kind's watch."""
        return InboxListener(self, kind)

    def put(self, kind: Kind, key: Key | None, value: Any) -> None:
        """Add a piece of news."""
        with self._changed:
            self._news.append(News(kind, self._clock(), key, value))
            self._changed.notify()

    def wake(self) -> None:
        """Let go of who waits for news, without any."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def wait(self, seconds: float) -> bool:
        """Wait for news; tell whether somebody should look: there are some, or :meth:`wake` was called."""
        with self._changed:
            found = self._changed.wait_for(lambda: self._news or self._woken, max(0.0, seconds))
            self._woken = False
            return bool(found)

    def take(self) -> list[News]:
        """Take all there is, oldest first."""
        with self._changed:
            news, self._news = list(self._news), deque()
            return news


class InboxListener:
    """:class:`csi_model.cluster.watching.Listener` that puts all it is told into an inbox."""

    def __init__(self, inbox: Inbox, kind: Kind) -> None:
        self._inbox, self._kind = inbox, kind

    def replaced(self, objects: Mapping[Key, Any]) -> None:
        self._inbox.put(self._kind, None, objects)

    def changed(self, key: Key, value: Any) -> None:
        self._inbox.put(self._kind, key, value)
