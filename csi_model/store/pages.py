"""Pages: which bytes of a file are in the page cache, and how to take them out of it."""

import ctypes
import mmap
import os

_SYS_CACHESTAT = 451  # Linux ≥ 6.5; the number is the same on all architectures but alpha
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64,
]  # fmt: skip
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_MAP_FAILED = ctypes.c_void_p(-1).value


def resident(fd: int, offset: int, length: int) -> int:
    """Return how many bytes of a range are in the page cache, rounded to pages; 0 where the kernel doesn't tell.

    Args:
        fd: an open file that this process owns: of others the kernel doesn't tell.
        offset: a multiple of the page size.
        length: bytes.

    """
    pages = _cachestat(fd, offset, length)
    if pages is None:
        pages = _mincore(fd, offset, length)
    return min(length, pages * mmap.PAGESIZE)


def forget(fd: int) -> None:
    """Take a file's pages out of the page cache, those apart that a process has mapped.

    Raises:
        OSError: its dirty pages can't be written.

    """
    os.fdatasync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _cachestat(fd: int, offset: int, length: int) -> int | None:
    span = (ctypes.c_uint64 * 2)(offset, length)
    counts = (ctypes.c_uint64 * 5)()  # cached, dirty, in write-back, evicted, recently evicted
    if _libc.syscall(_SYS_CACHESTAT, fd, ctypes.byref(span), ctypes.byref(counts), 0) != 0:
        return None
    return counts[0]


def _mincore(fd: int, offset: int, length: int) -> int:
    address = _libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, fd, offset)
    if address == _MAP_FAILED:
        return 0
    try:
        states = ctypes.create_string_buffer(-(-length // mmap.PAGESIZE))
        if _libc.mincore(address, length, states) != 0:
            return 0
        return sum(state & 1 for state in states.raw)
    finally:
        _libc.munmap(address, length)
