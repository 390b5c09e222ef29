"""Keeping: which bytes stay in the page cache once they are on the disk.

Measured on 2 cores, 2 GiB, durable and then read through mmap: buffered writes with early write-back 0.8 to 2.3 s in
all, O_DIRECT 2.2 to 3.6 s, since everything is read from the disk again; but O_DIRECT costs 0.04 CPU s per GiB and
buffered writes 0.27 to 1.1. So what a waiting pod will load stays, as far as memory has room that no running workload
uses; what nobody waits for goes past the page cache.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Room(Protocol):
    """Tells how many bytes the page cache may be filled with now; ``kept`` of its idle pages are to stay."""

    def __call__(self, *, kept: int = 0) -> int: ...


def no_room(*, kept: int = 0) -> int:  # noqa: ARG001 - the protocol's signature
    """Keep nothing."""
    return 0


class Keeping:
    """The node's decision, for all transfers.

    Args:
        room: how much memory there is.

    Attributes:
        kept_bytes: written through the page cache since the start.
        passed_bytes: written past it.

    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._standing = 0  # bytes that running transfers have kept
        self.kept_bytes = 0
        self.passed_bytes = 0

    @contextmanager
    def account(self) -> Iterator["Account"]:
        """Decide for one transfer while the block runs; afterwards its pages are as good as any others."""
        account = Account(self)
        try:
            yield account
        finally:
            with self._lock:
                self._standing -= account.kept

    def decide(self, account: "Account", size: int, *, urgent: bool) -> bool:
        """Count ``size`` bytes that are to be written, and tell whether they stay."""
        with self._lock:
            keep = urgent and self._room(kept=self._standing) >= size
            if keep:
                self.kept_bytes += size
                self._standing += size
                account.kept += size
            else:
                self.passed_bytes += size
            return keep


class Account:
    """What one transfer has kept.

    Attributes:
        kept: bytes.

    """

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self.kept = 0

    def keep(self, size: int, *, urgent: bool) -> bool:
        """Count ``size`` bytes that are to be written, and tell whether they stay in the page cache.

        Args:
            size: bytes.
            urgent: whether a pod waits for them.

        """
        return self._keeping.decide(self, size, urgent=urgent)
