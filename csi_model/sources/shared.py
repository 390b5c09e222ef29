"""Memory that two processes have in common, so that a worker can fill what this process hashes and writes."""

import ctypes
import fcntl
import mmap
import os
import weakref
from typing import Self


class SharedBuffer(mmap.mmap):
    """Memory behind a descriptor, which another process can map. It can't shrink, so no access to it ever fails.

    Args:
        size: bytes.

    Attributes:
        fd: the descriptor; closed with the buffer.

    Raises:
        OSError: the machine is short of memory or of descriptors.

    """

    fd: int
    _let_go: "weakref.finalize[[int], SharedBuffer]"

    def __new__(cls, size: int) -> Self:
        fd = os.memfd_create("csi-model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            buffer = super().__new__(cls, fd, size)
        except BaseException:
            os.close(fd)
            raise
        buffer.fd = fd
        buffer._let_go = weakref.finalize(buffer, os.close, fd)
        return buffer

    def close(self) -> None:
        """Unmap it; raises BufferError while views of it are left: then it goes when they go."""
        super().close()
        self._let_go()


def locate(view: memoryview) -> tuple[SharedBuffer, int] | None:
    """Tell in which SharedBuffer a writable view lies that isn't empty, and from which byte; None if in none."""
    buffer = view.obj
    if not isinstance(buffer, SharedBuffer):
        return None
    return buffer, _address(view) - _address(buffer)


def _address(memory: memoryview | SharedBuffer) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
