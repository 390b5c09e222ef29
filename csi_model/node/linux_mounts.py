"""Mounts by the kernel's own system calls: nothing is forked, since forking under live gRPC threads deadlocks.

A bind is made read-only while nobody can see it, and then attached: ``open_tree`` clones the directory's mount,
``mount_setattr`` takes the right to write from the clone, ``move_mount`` shows it. Kernels before 5.12 lack these
calls; there the bind is made and turned read-only in a private place, and a bind of *that* is put on the target (a
bind inherits the flags of what it binds). Remounting on the target itself would not do: for an instant it could be
written, and the copies that mount propagation makes on the host would stay writable.

Access-time flags need no work: a read-only mount never writes access times. Flags are only ever added, since those
inherited in a user namespace are locked.
"""

import ctypes
import errno
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from csi_model.errors import MountFailed
from csi_model.node.mountinfo import parse_mountinfo
from csi_model.node.mounts import Mount

_libc = ctypes.CDLL(None, use_errno=True)

# Numbers of system calls that glibc gained late (2.36); the same on every architecture but Alpha.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442

_AT_EMPTY_PATH = 0x1000  # include/uapi/linux/fcntl.h
_OPEN_TREE_CLONE = 1  # include/uapi/linux/mount.h, as all that follow
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 0x04, 0x40
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_RDONLY = 2, 4, 8, 1
_MS_REMOUNT, _MS_BIND, _MS_PRIVATE = 0x20, 0x1000, 1 << 18
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_MOUNTINFO = Path("/proc/self/mountinfo")

# MS_… and MOUNT_ATTR_… agree on these four.
_ALWAYS = _MS_RDONLY | _MS_NOSUID | _MS_NODEV
_FLAGS = {
    "ro": 0, "nosuid": 0, "nodev": 0, "noexec": _MS_NOEXEC, "noatime": 0, "nodiratime": 0, "relatime": 0,
}  # fmt: skip


class _MountAttr(ctypes.Structure):
    """``struct mount_attr`` of mount_setattr(2)."""

    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


class LinuxMounts:
    """:class:`csi_model.node.mounts.Mounts` of this process's mount namespace.

    Args:
        legacy: use only the calls of kernels before 5.12. They are used by themselves where the kernel has no others.

    """

    def __init__(self, *, legacy: bool = False) -> None:
        self._legacy = legacy

    def bind_read_only(self, source: Path, target: Path, *, flags: Sequence[str] = ()) -> None:
        bits = _ALWAYS
        for flag in flags:
            if flag not in _FLAGS:
                raise MountFailed(
                    f"can't bind onto {target}: mount flag {flag[:80]!r} is not one of {', '.join(_FLAGS)}"
                )
            bits |= _FLAGS[flag]
        with _failing(f"bind {source} onto {target}"), _place(source) as below, _place(target) as above:
            if not self._legacy:
                try:
                    _bind(below, above, bits)
                except OSError as error:
                    if error.errno != errno.ENOSYS:
                        raise
                    self._legacy = True
                else:
                    return
            _bind_legacy(below, above, bits)

    def unmount(self, target: Path) -> None:
        if "\0" in str(target):  # C would end the path there
            raise MountFailed(f"can't unmount {str(target)!r}: it is no path")
        with _failing(f"unmount {target}"):
            while _unmount_topmost(target):
                pass
        # The kernel says EINVAL both for "nothing is mounted here" and for "this mount isn't yours to remove".
        if Path(os.path.realpath(target.parent)) / target.name in self.table():
            raise MountFailed(f"can't unmount {target} (EINVAL): another mount namespace has locked it there")

    def table(self) -> Mapping[Path, Mount]:
        try:
            return parse_mountinfo(_MOUNTINFO.read_bytes())
        except (OSError, ValueError) as error:
            raise MountFailed(f"can't read {_MOUNTINFO}: {error}") from error


def _bind(source: int, target: int, bits: int) -> None:
    # The clone is attached to nothing yet, and goes with its descriptor.
    tree = _system_call(_OPEN_TREE, source, b"", _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH)
    try:
        attributes = _MountAttr(attr_set=bits, propagation=_MS_PRIVATE)
        size = ctypes.sizeof(attributes)
        _system_call(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size)
        _system_call(_MOVE_MOUNT, tree, b"", target, b"", _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH)
    finally:
        os.close(tree)


def _bind_legacy(source: int, target: int, bits: int) -> None:
    private = Path(tempfile.mkdtemp(prefix="csi-model-bind-"))  # mode 0700: nobody else can look inside
    try:
        with _place(private) as hidden:
            _mount(_numbered(source), _numbered(hidden), _MS_BIND)
        try:
            _mount(None, bytes(private), _MS_PRIVATE)
            _mount(None, bytes(private), _MS_REMOUNT | _MS_BIND | bits | _inherited(private))
            _mount(bytes(private), _numbered(target), _MS_BIND)
        finally:
            _unmount_topmost(private)
    finally:
        with suppress(OSError):
            private.rmdir()


def _inherited(path: Path) -> int:
    """Return the flags that a mount has already: a remount that leaves one out would clear it.

    Access-time flags are kept by a remount that names none; statvfs(3) gives the others mount(2)'s numbers.
    """
    return os.statvfs(path).f_flag & (_MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def _unmount_topmost(target: Path) -> bool:
    """Remove one mount; False if there is none."""
    for flags in (_UMOUNT_NOFOLLOW, _UMOUNT_NOFOLLOW | _MNT_DETACH):
        if _libc.umount2(bytes(target), flags) == 0:
            return True
        code = ctypes.get_errno()
        if code in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
            return False
        if code != errno.EBUSY:
            raise OSError(code, os.strerror(code))
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


@contextmanager
def _place(path: Path) -> Iterator[int]:
    """Open a directory for naming it only; the last name is never followed if it is a symbolic link."""
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _numbered(descriptor: int) -> bytes:
    return f"/proc/self/fd/{descriptor}".encode()


def _system_call(number: int, *arguments: Any) -> int:
    """Make a system call; whole numbers go as C longs, the width that syscall(2) reads."""
    wide = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *wide))


def _mount(source: bytes | None, target: bytes, flags: int) -> None:
    _checked(_libc.mount(source, target, None, ctypes.c_ulong(flags), None))


def _checked(result: int) -> int:
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


@contextmanager
def _failing(what: str) -> Iterator[None]:
    """Turn an OSError of the block into MountFailed, with what to do where that is known."""
    try:
        yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "?")
        hint = (
            ": the driver needs CAP_SYS_ADMIN (in Kubernetes a privileged container)"
            if error.errno == errno.EPERM
            else ""
        )
        raise MountFailed(f"can't {what}: {error.strerror} ({name}){hint}") from error
