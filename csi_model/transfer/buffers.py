"""Buffers: the only memory that the bytes of models pass through, and so the back-pressure.

Two sizes. A *block* is what a stream needs whose bytes are hashed and written as they come: small, so that it stays in
the processor's cache between the socket, the hash and the disk. A *chunk* is for bytes that have to wait for their
turn at a hash that wants them in order.
"""

import mmap
import threading
from contextlib import suppress

from csi_model.settings import MIB
from csi_model.sources.shared import SharedBuffer

BLOCK = MIB
"""Bytes that a stream handles at a time. Measured on 2 cores, HTTP to hash: 1 MiB costs 0.30 CPU s per GiB, 4 MiB
0.33, 16 MiB 0.40 to 0.54, as the larger ones leave the processor's cache before they are hashed and written."""


class Buffers:
    """A pool of page-aligned buffers, which other processes can fill. Safe to use from several threads.

    Args:
        budget: bytes of memory for all of them together.

    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._free: dict[int, list[mmap.mmap]] = {}
        self._made = 0  # bytes

    def try_take(self, size: int) -> mmap.mmap | None:
        """Take a buffer, the one used last first: it may still be in the processor's cache.

        Args:
            size: bytes, at most the budget.

        Returns:
            The buffer; None if others have to come back first.

        """
        with self._lock:
            free = self._free.setdefault(size, [])
            if free:
                return free.pop()
            if self._made + size > self._budget:
                self._drop(self._made + size - self._budget)
            if self._made + size > self._budget:
                return None
            try:
                buffer = SharedBuffer(size)
            except OSError:  # the machine is short of memory: what others give back has to do
                return None
            self._made += size
            return buffer

    def give_back(self, buffer: mmap.mmap) -> None:
        """Return a buffer that :meth:`try_take` gave; no view of it may be in use any more."""
        with self._lock:
            self._free[len(buffer)].append(buffer)

    def trim(self) -> None:
        """Give the memory of free buffers back to the kernel."""
        with self._lock:
            self._drop(self._made)

    def in_use(self) -> int:
        """Return the bytes of buffers that are taken."""
        with self._lock:
            return self._made - sum(size * len(free) for size, free in self._free.items())

    def _drop(self, size: int) -> None:
        """Unmap free buffers of at least ``size`` bytes together, or all."""
        for free in self._free.values():
            while free and size > 0:
                buffer = free.pop()
                size -= len(buffer)
                self._made -= len(buffer)
                with suppress(BufferError):  # a traceback may still hold views of it: then it goes when that goes
                    buffer.close()
