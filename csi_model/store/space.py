"""Space: how much room there is, and who has been promised it before the first byte.

Others write to the same file system too, so a promise is re-checked while it is being used.
"""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from csi_model.core.units import bytes_text
from csi_model.errors import StoreFull

_ADVICE = "delete pods or volumes that hold other models on this node, or give the store a larger disk"


@dataclass(frozen=True, slots=True)
class Room:
    """The file system at one instant, in bytes.

    Attributes:
        total: what is used plus what may be used (blocks reserved for root don't count).
        used: by anybody.
        reserved: promised to running warm-ups and not written yet.
        available: what a new copy could get below the high watermark; negative when the disk is fuller than that.

    """

    total: int
    used: int
    reserved: int
    available: int


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What eviction didn't do.

    Attributes:
        evictable: bytes that could have gone and wouldn't have sufficed; 0 if they went.
        words: what is waited for, for people; "" if for nothing.

    """

    evictable: int = 0
    words: str = ""


class Space:
    """The room under one store's root.

    Args:
        root: any path on the file system.
        high_watermark: fraction that copies may fill.
        make_room: called with the bytes that are lacking; evicts, and tells what it didn't.

    """

    def __init__(self, root: Path, *, high_watermark: float, make_room: Callable[[int], Shortfall]) -> None:
        self._root = root
        self._high = high_watermark
        self._make_room = make_room
        self._lock = threading.Lock()
        self._reserved = 0

    def room(self) -> Room:
        """Measure the file system now."""
        status = os.statvfs(self._root)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        total = used + status.f_bavail * status.f_frsize
        available = int(total * self._high) - used - self._reserved
        return Room(total, used, self._reserved, available)

    def reserve(self, size: int) -> "DiskReservation":
        """Promise room for ``size`` bytes, evicting what nothing holds if need be.

        Raises:
            StoreFull: it can't be had; the text says how much is missing and what could be evicted.

        """
        with self._lock:
            self._need(size, promised=0)
            self._reserved += size
        return DiskReservation(self, size)

    def _recheck(self, promised: int) -> None:
        with self._lock:
            self._need(promised, promised=promised)

    def _need(self, size: int, *, promised: int) -> None:
        """Make sure of ``size`` bytes, of which ``promised`` are the caller's already; called with the lock held."""
        if size <= 0:
            return
        room = self.room()
        if size > room.total * self._high:
            raise StoreFull(
                f"the copy needs {bytes_text(size)}, more than the {bytes_text(room.total * self._high)} that "
                "the store's disk may hold in all (high watermark): give the node a larger disk",
                needed=size, free=max(0, room.available + promised),
            )  # fmt: skip
        lacking = size - promised - room.available
        if lacking <= 0:
            return
        short = self._make_room(lacking)
        free = self.room().available + promised
        if size > free:
            raise StoreFull(
                f"the copy needs {bytes_text(size)} and the store can give {bytes_text(max(0, free))}: "
                f"{bytes_text(size - free)} are missing, {bytes_text(short.evictable)} more could be evicted; "
                f"{short.words or _ADVICE}",
                needed=size, free=max(0, free), evictable=short.evictable,
            )  # fmt: skip

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._reserved -= size


class DiskReservation(AbstractContextManager["DiskReservation"]):
    """A promise of bytes; shrinks as they are written, and what is left goes back at the end."""

    def __init__(self, space: Space, size: int) -> None:
        self._space = space
        self._lock = threading.Lock()
        self._left = size

    def used(self, size: int) -> None:
        with self._lock:
            size = max(0, min(size, self._left))
            self._left -= size
            self._space._give_back(size)  # noqa: SLF001 - the two classes are one thing in two lifetimes

    def recheck(self) -> None:
        with self._lock:
            self._space._recheck(self._left)  # noqa: SLF001 - as above

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.used(self._left)
