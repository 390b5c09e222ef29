"""Opening a store: make it or recognise it, and lock it. Constant time whatever it holds."""

import fcntl
import logging
import os
import re
from contextlib import suppress

from csi_model.errors import StoreLocked, StoreUnusable
from csi_model.store.durable import UNFINISHED, write_file
from csi_model.store.layout import VERSION, Layout

log = logging.getLogger(__name__)
_BEFORE_VERSION = ("LOCK", "lost+found", "admin.sock")  # what may be there although VERSION isn't


def open_root(layout: Layout) -> int:
    """Take a store for this process.

    Returns:
        The descriptor whose closing lets another agent have it.

    Raises:
        StoreLocked: another agent owns it.
        StoreUnusable: it is something else, or of another version.
        OSError: it can't be written.

    """
    layout.root.mkdir(mode=0o700, exist_ok=True)
    _refuse_others(layout)
    layout.root.chmod(0o700)
    lock = _take_lock(layout)
    try:
        _check_version(layout)
        for directory in layout.directories:
            directory.mkdir(mode=0o700, exist_ok=True)
        _set_aside(layout)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _refuse_others(layout: Layout) -> None:
    """Refuse a directory that is in use for something else, before anything in it is touched."""
    names = [path.name for path in layout.root.iterdir()]
    strange = [name for name in names if name not in _BEFORE_VERSION and not name.startswith(UNFINISHED)]
    if strange and not layout.version.exists():
        raise StoreUnusable(
            f"{layout.root} is neither empty nor a store (it has {min(strange)!r}): "
            "point the store at a directory of its own"
        )


def _take_lock(layout: Layout) -> int:
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(OSError):  # a full disk is no reason not to start; the number is for people
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise StoreLocked(f"another agent (process {owner or 'unknown'}) owns the store {layout.root}") from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_version(layout: Layout) -> None:
    try:
        found = re.fullmatch(rb"(\d{1,9})\s*", layout.version.read_bytes())
    except FileNotFoundError:
        found = None
    else:
        if found is None:
            log.warning("the version of the store %s is damaged: taken for %s", layout.root, VERSION)
    if found is None:
        write_file(layout.version, f"{VERSION}\n".encode(), scratch=layout.root)
    elif found[1].decode() != VERSION:
        raise StoreUnusable(
            f"the store {layout.root} has layout version {found[1].decode()}, this program knows {VERSION}: "
            "run the version that made it, or empty the directory (models are fetched again)"
        )


def _set_aside(layout: Layout) -> None:
    """Rename what an earlier life was building; deleted later. What can't be renamed is only a waste of space."""
    for path in list(layout.assembly.iterdir()):
        try:
            path.rename(layout.discarded(path))
        except OSError as error:
            log.warning("can't set %s aside: %s", path, error)
