"""DataFile: the bytes of an unfinished write, through the page cache or past it.

What a waiting pod reads next is written through the page cache: a little more work now, and no disk at all when the
model is loaded. What nobody waits for goes past it with O_DIRECT: a quarter of the processor time, and no running
workload loses its memory. Where the file system has no O_DIRECT, the kernel is told to forget the pages instead.
"""

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path

from csi_model.store.durable import allocate, pread_all, pwrite_all, start_writeback
from csi_model.store.labels import Label

_ALIGNMENT = 4096  # bytes: covers the logical block size of every disk that O_DIRECT is common on
_PIECE = 128 * 1024
"""Bytes of one write through the page cache. The kernel makes folios as large as a write allows, and takes large ones
from memory that a virtual machine has given back to its host, where each page costs a fault. Measured, 2 GiB by 8
threads: writes of 128 KiB take 0.33 to 0.48 CPU s per GiB and are durable after 0.6 to 0.7 s, writes of 1 MiB 0.84 to
1.41 and 1.4 to 2.5 s."""
_REFUSED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP)


class DataFile:
    """An open file of a known size. Different ranges may be written by different threads.

    Args:
        path: made if it isn't there.
        size: bytes it will have; room for them is set aside where the file system can.

    Attributes:
        reserved: whether room for the whole file is set aside.
        direct: whether O_DIRECT works here, as far as is known: the file system's own answer, at open or at a write.

    Raises:
        OSError: as the kernel gives it.

    """

    def __init__(self, path: Path, size: int) -> None:
        self._buffered = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._turn = threading.Lock()
        self._past_cache = -1
        self._to_forget = False
        try:
            self.fresh = os.fstat(self._buffered).st_size != size
            self.reserved = allocate(self._buffered, size)
            with suppress(OSError):  # tmpfs and others say EINVAL here; a real fault shows at the first write
                self._past_cache = os.open(path, os.O_WRONLY | os.O_DIRECT)
        except BaseException:
            self.close()
            raise
        self.direct = self._past_cache >= 0

    def write(self, start: int, data: memoryview, *, cached: bool) -> None:
        """Write a block.

        Args:
            start: offset in bytes.
            data: the block; page-aligned in memory and in the file, else it takes the way through the page cache.
            cached: whether it is to stay in the page cache.

        """
        if not cached and self.direct and not start % _ALIGNMENT:
            written = self._write_direct(start, data)
            start, data = start + written, data[written:]
        if data:
            with self._turn:  # the kernel lets one write at a time into a file's pages, and the others spin
                for offset in range(0, len(data), _PIECE):
                    pwrite_all(self._buffered, data[offset : offset + _PIECE], start + offset)
            start_writeback(self._buffered, start, len(data))
            self._to_forget = self._to_forget or not cached

    def _write_direct(self, start: int, data: memoryview) -> int:
        """Write all whole pages; returns how many bytes that was, 0 if the file system refuses."""
        whole = len(data) - len(data) % _ALIGNMENT
        try:
            pwrite_all(self._past_cache, data[:whole], start)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            self.direct = False
            return 0
        return whole

    def sync(self) -> None:
        """Make what was written durable."""
        os.fdatasync(self._buffered)
        if self._to_forget:
            self._to_forget = False
            os.posix_fadvise(self._buffered, 0, 0, os.POSIX_FADV_DONTNEED)

    def seal(self, label: Label) -> None:
        """Make the file durable and immutable: its label, mode 0444 and a constant time."""
        label.put(self._buffered)
        os.fchmod(self._buffered, 0o444)
        os.utime(self._buffered, (0, 0))
        os.fsync(self._buffered)

    def read_into(self, start: int, view: memoryview) -> None:
        """Fill the view from an offset in bytes."""
        pread_all(self._buffered, view, start)

    def close(self) -> None:
        """Close it; may not be repeated."""
        os.close(self._buffered)
        if self._past_cache >= 0:
            os.close(self._past_cache)
