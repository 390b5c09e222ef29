"""Buffers: the only memory that the bytes of models pass through, and so the back-pressure.

Each is one chunk long and page-aligned. Nobody waits for one while holding a place in the order of spans, so the
oldest span in flight always has its buffer and the pool can't lock up.
"""

import mmap
import threading
from collections.abc import Callable

_PATIENCE = 0.2  # seconds


class Buffers:
    """A pool of ``count`` buffers of ``size`` bytes, made when first needed."""

    def __init__(self, count: int, size: int) -> None:
        self._size = size
        self._free: list[mmap.mmap] = []
        self._unmade = count
        self._changed = threading.Condition()

    def take(self, given_up: Callable[[], bool]) -> mmap.mmap | None:
        """Wait for a buffer; the one used last comes first, while it is still in the processor's cache.

        Args:
            given_up: asked now and then; when it says so, the wait ends with None. Chunks that wait for one that
                will never come hold buffers, so a wait without an end could be for ever.

        """
        with self._changed:
            while not self._changed.wait_for(lambda: self._free or self._unmade, timeout=_PATIENCE):
                if given_up():
                    return None
            if self._free:
                return self._free.pop()
            buffer = mmap.mmap(-1, self._size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self._unmade -= 1
            return buffer

    def give_back(self, buffer: mmap.mmap) -> None:
        """Return a buffer that :meth:`take` gave; no view of it may be in use any more."""
        with self._changed:
            self._free.append(buffer)
            self._changed.notify()

    def trim(self) -> None:
        """Give the memory of free buffers back to the kernel; their addresses stay."""
        with self._changed:
            for buffer in self._free:
                buffer.madvise(mmap.MADV_DONTNEED)
