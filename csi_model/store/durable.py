"""System calls for durability that Python lacks or hides, and the one way to replace a small file.

Everything here raises OSError as the kernel gives it; :func:`translated` turns that into the store's errors.
"""

import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from csi_model.core.units import bytes_text
from csi_model.errors import StoreFull, StoreUnusable

_libc = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE = 2  # sync_file_range(2)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn an OSError of the block into StoreFull or StoreUnusable.

    Args:
        what: what was being done, e.g. ``writing model.safetensors``.

    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise StoreFull(f"the disk filled up while {what}: free some space on the store's file system") from error
        raise StoreUnusable(
            f"{what} failed: {error.strerror} ({errno.errorcode.get(error.errno or 0, '?')})"
        ) from error


def fsync_directory(path: Path) -> None:
    """Make renames, links and unlinks in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def syncfs(path: Path) -> None:
    """Make everything in the path's file system durable: cheaper than fsync of thousands of small files."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)


def allocate(descriptor: int, size: int) -> bool:
    """Reserve blocks for a file of ``size`` bytes; its length is set as well.

    fallocate(2) itself, since ``os.posix_fallocate`` quietly writes every block where the file system can't.

    Returns:
        Whether blocks were reserved; False where the file system has no fallocate (then only the length is set).

    """
    result = _libc.fallocate(descriptor, 0, ctypes.c_int64(0), ctypes.c_int64(size))
    if result == 0:
        return True
    code = ctypes.get_errno()
    if code not in _UNSUPPORTED:
        raise OSError(code, os.strerror(code))
    os.ftruncate(descriptor, size)
    return False


def start_writeback(descriptor: int, start: int, length: int) -> None:
    """Ask the kernel to begin writing a range now, so that the fsync at the end finds little left."""
    _libc.sync_file_range(descriptor, ctypes.c_int64(start), ctypes.c_int64(length), _SYNC_FILE_RANGE_WRITE)


def write_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file durably: other processes and later boots see the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name[:100]}.{token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    fsync_directory(path.parent)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """write(2) until all is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def pwrite_all(descriptor: int, view: memoryview, offset: int) -> None:
    """pwrite(2) until all is written."""
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def pread_all(descriptor: int, view: memoryview, offset: int) -> None:
    """preadv(2) until the view is full.

    Raises:
        OSError: EIO when the file ends early.

    """
    while view:
        count = os.preadv(descriptor, [view], offset)
        if count == 0:
            raise OSError(errno.EIO, "the file is shorter than it should be")
        view, offset = view[count:], offset + count


def remove_tree(path: Path) -> None:
    """Delete a directory with all it holds, read-only directories included; what is gone already is no error."""

    def retry(function: object, name: str, error: BaseException) -> None:
        if isinstance(error, FileNotFoundError):
            return
        if function in (os.unlink, os.rmdir) and isinstance(error, PermissionError):
            os.chmod(os.path.dirname(name), 0o700)  # noqa: PTH101, PTH120 - shutil hands over plain strings
            with suppress(FileNotFoundError):
                (os.unlink if function is os.unlink else os.rmdir)(name)
            return
        raise error

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=lambda function, name, info: retry(function, name, info[1]))
    else:
        path.unlink(missing_ok=True)


def full_text(needed: int, free: int, evictable: int) -> str:
    """Say in one sentence what is missing and what could be done."""
    return (
        f"the copy needs {bytes_text(needed)} and the store can give {bytes_text(max(0, free))}: "
        f"{bytes_text(needed - free)} are missing, {bytes_text(evictable)} more could be evicted; "
        "delete pods or volumes that hold other models on this node, or give the store a larger disk"
    )
