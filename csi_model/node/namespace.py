"""A mount namespace of one's own: mounts without root, seen by nobody else, and gone with the process.

For the demo and the tests. The daemon of a cluster never enters one: there kubelet has to see the mounts.
"""

import ctypes
import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from csi_model.errors import MountFailed

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000  # include/uapi/linux/sched.h
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 1 << 18
_SELF = Path("/proc/self")
_SYSCTLS = Path("/proc/sys")

APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"  # Ubuntu since 23.10
DEBIAN = "kernel.unprivileged_userns_clone"
MAXIMUM = "user.max_user_namespaces"

_entered = False  # a property of the process, so a global of it; fork inherits both the flag and the namespace
_left_chroot = False  # likewise


def enter() -> None:
    """Put this process into a mount namespace of its own, with private propagation.

    Where the caller may not do that, it first gets a user namespace in which it is root and owns what it owned
    before. A second call does nothing. That mounts do work is tried, not assumed.

    Raises:
        MountFailed: the process has threads already, or the kernel refused; the text says why and what to do.

    """
    global _entered  # noqa: PLW0603 - see above
    if _entered:
        return
    threads = sum(1 for _ in (_SELF / "task").iterdir())
    if threads > 1:
        raise MountFailed(f"can't enter a mount namespace with {threads} threads running: do it before any is started")
    try:
        _unshare()
        _make_private()
        _try_a_mount()
    except OSError as error:
        code = error.errno or 0
        raise MountFailed(
            f"can't mount in a namespace of our own: {os.strerror(code)} ({errno.errorcode.get(code, '?')}); "
            + advice(code, _switches(), chrooted=in_chroot())
        ) from error
    _entered = True


def advice(code: int, switches: Mapping[str, str], *, chrooted: bool = False) -> str:
    """Say what to do about a refusal.

    Args:
        code: the errno.
        switches: the sysctls APPARMOR, DEBIAN and MAXIMUM with their values, as far as the kernel has them.
        chrooted: whether ``/`` is no mount point.

    """
    restricted = switches.get(APPARMOR) not in (None, "0")
    cases = (
        (
            switches.get(DEBIAN) == "0",
            f"unprivileged user namespaces are off: run `sysctl {DEBIAN}=1`, or run this as root",
        ),
        (
            switches.get(MAXIMUM) == "0",
            f"user namespaces are off: raise `sysctl {MAXIMUM}`, or run this as root",
        ),
        (
            code in (errno.ENOSPC, errno.EUSERS),
            f"there are too many namespaces: raise `sysctl {MAXIMUM}` and `user.max_mnt_namespaces`, or run as root",
        ),
        (
            restricted,
            f"AppArmor restricts unprivileged user namespaces: run `sysctl {APPARMOR}=0`, or run this as root",
        ),
        (
            chrooted and code == errno.EPERM,
            "this is a chroot, where the kernel gives nobody a user namespace: run this as root",
        ),
        (
            code in (errno.EINVAL, errno.ENOSYS),
            "this kernel has no user namespaces: run this as root",
        ),
    )
    for applies, text in cases:
        if applies:
            return text
    return (
        "something forbids it, in a container usually its seccomp profile: give the container CAP_SYS_ADMIN and an "
        "unconfined seccomp profile, or run this outside as root"
    )


def _unshare() -> None:
    if _libc.unshare(_CLONE_NEWNS) == 0:
        return
    if ctypes.get_errno() != errno.EPERM:
        _checked(-1)
    uid, gid = os.geteuid(), os.getegid()
    _checked(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS))
    (_SELF / "setgroups").write_text("deny")  # the kernel wants it before an unprivileged gid_map
    (_SELF / "uid_map").write_text(f"0 {uid} 1")
    (_SELF / "gid_map").write_text(f"0 {gid} 1")


def _make_private() -> None:
    """Keep what is mounted in here from showing elsewhere, and the other way round."""
    try:
        _mount(None, "/", _MS_REC | _MS_PRIVATE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _leave_chroot_for_its_copy()
        _mount(None, "/", _MS_REC | _MS_PRIVATE)


def _leave_chroot_for_its_copy() -> None:
    """In a chroot ``/`` is no mount point, so it has no propagation to set: bind it elsewhere and use that as root.

    Elsewhere is ``/proc``, the one place that is surely a mount of its own. It is made private first, as a mount on it
    would show outside otherwise; the copy has a ``/proc`` of its own.
    """
    global _left_chroot  # noqa: PLW0603 - see above
    here = Path.cwd()
    _mount(None, "/proc", _MS_PRIVATE)
    _mount("/", "/proc", _MS_BIND | _MS_REC)
    os.chroot("/proc")
    os.chdir(here)
    _left_chroot = True


def _mount(source: str | None, target: str, flags: int) -> None:
    place = source.encode() if source else None
    _checked(_libc.mount(place, target.encode(), None, ctypes.c_ulong(flags), None))


def _try_a_mount() -> None:
    """AppArmor lets the namespaces be made and refuses what they are for."""
    with tempfile.TemporaryDirectory(prefix="csi-model-") as directory:
        place = os.fsencode(directory)
        _checked(_libc.mount(b"tmpfs", place, b"tmpfs", ctypes.c_ulong(0), b"size=4k"))
        _checked(_libc.umount2(place, 0))


def in_chroot() -> bool:
    """Tell whether this process began where ``/`` is no mount point: no line of mountinfo names it (fifth field)."""
    lines = (_SELF / "mountinfo").read_text(errors="replace").splitlines()
    return _left_chroot or not any(line.split(" ")[4] == "/" for line in lines)


def _switches() -> dict[str, str]:
    found = {}
    for name in (APPARMOR, DEBIAN, MAXIMUM):
        path = _SYSCTLS / name.replace(".", "/")
        if path.is_file():
            found[name] = path.read_text().strip()
    return found


def _checked(result: int) -> None:
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
