"""System calls for durability that Python lacks or hides, and the one way to replace a small file.

Everything here raises OSError as the kernel gives it; :func:`translated` turns that into the store's errors.
"""

import ctypes
import errno
import logging
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from csi_model.errors import StoreFull, StoreUnusable

log = logging.getLogger(__name__)
_libc = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE = 2  # sync_file_range(2)
UNFINISHED = ".new-"
"""How the names of files begin that :func:`write_file` hasn't finished."""
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_FEW = 4
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
    _sync(path, os.O_DIRECTORY)


def fsync_file(path: str | Path) -> None:
    """Make a file's bytes, mode and times durable."""
    _sync(path, os.O_NOFOLLOW)


def fsync_all(files: Collection[str | Path], directories: Collection[Path], *, few: int = _FEW) -> None:
    """Make files and directories of one file system durable, in whichever way is cheaper.

    Args:
        files: their bytes, modes and times.
        directories: their renames, links and unlinks.
        few: so many are worth an fsync each; for more, one syncfs of everything costs less.

    """
    if len(files) + len(directories) > few:
        syncfs(next(iter(directories), None) or Path(next(iter(files))).parent)
        return
    for path in files:
        fsync_file(path)
    for path in directories:
        fsync_directory(path)


def _sync(path: str | Path, flags: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | flags)
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


def settle(directories: Collection[Path]) -> None:
    """Make renames into directories durable. They are visible and can't be taken back: a failure is logged."""
    try:
        fsync_all([], directories)
    except OSError as error:
        log.warning("can't make a rename durable: %s", error)


def write_file(path: Path, data: bytes, *, scratch: Path, durable: bool = True) -> None:
    """Replace a file: other processes and later boots see the old content or the new, never a part.

    Args:
        path: what to replace.
        data: its new content.
        scratch: directory of the same file system for the unfinished file; a crash may leave one there.
        durable: whether it is durable when this returns; if not, a power failure may leave an empty file.

    """
    temporary = scratch / f"{UNFINISHED}{token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            write_all(descriptor, data)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    if durable:
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
    """Delete a file, or a directory with all it holds, read-only directories included."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for directory, _, _ in os.walk(path):
        os.chmod(directory, 0o700)  # noqa: PTH101 - os.walk gives plain strings
    shutil.rmtree(path)
