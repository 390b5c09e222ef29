"""Privileges: a node's container has to be privileged, the process in it gives up all that it doesn't need.

Only a privileged container may have Bidirectional mount propagation, so the driver gets every capability there is. What
it drops here is gone for good: from this process, and from whatever it executes.

Capabilities belong to threads, and threads inherit them when they start: so this comes before any other thread does.
"""

import ctypes
import errno
import os
from collections.abc import Mapping
from pathlib import Path

from csi_model.errors import MountFailed

NEEDED: Mapping[str, str] = {
    "CAP_SYS_ADMIN": "mounts copies onto pods' targets and takes them away; sets SELinux labels where asked to",
}
"""What the node keeps, and what for. It owns all of its store, and kubelet's directories belong to root as it does, so
it overrides nobody's permissions; its ports are above 1024, its child processes are its own."""

_NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
CAPABILITIES: Mapping[str, int] = {f"CAP_{name}": number for number, name in enumerate(_NAMES)}
"""Numbers of include/uapi/linux/capability.h. A kernel may know more; those are dropped as well."""

_libc = ctypes.CDLL(None, use_errno=True)
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24  # include/uapi/linux/prctl.h, as all that follow
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_VERSION_3 = 0x20080522  # include/uapi/linux/capability.h
_SELF = Path("/proc/self")


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def drop_all_but(keep: frozenset[str]) -> None:
    """Give up all capabilities but some, and the way to get others by executing something. Can't be undone.

    Args:
        keep: names such as ``CAP_SYS_ADMIN``.

    Raises:
        MountFailed: the process lacks one that it has to keep, or the right to drop the others.
        RuntimeError: other threads run, which would keep theirs.

    """
    threads = sum(1 for _ in (_SELF / "task").iterdir())
    if threads > 1:
        raise RuntimeError(f"capabilities are dropped before other threads start, {threads - 1} run already")
    wanted = sum(1 << CAPABILITIES[name] for name in keep)
    lacking = sorted(name for name in keep if not _permitted() >> CAPABILITIES[name] & 1)
    if lacking:
        raise MountFailed(f"the driver lacks {', '.join(lacking)}: in Kubernetes it needs a privileged container")
    try:
        _drop(wanted)
    except OSError as error:
        hint = ": that needs CAP_SETPCAP, which a privileged container has" if error.errno == errno.EPERM else ""
        raise MountFailed(f"can't drop capabilities: {error.strerror}{hint}") from error


def _drop(wanted: int) -> None:
    number = 0
    while (known := _prctl(_PR_CAPBSET_READ, number)) >= 0:  # EINVAL beyond the last one
        if known and not wanted >> number & 1:
            _checked(_prctl(_PR_CAPBSET_DROP, number))
        number += 1
    _checked(_prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL))
    _checked(_prctl(_PR_SET_NO_NEW_PRIVS, 1))
    halves = [wanted & 0xFFFFFFFF, wanted >> 32]
    data = (_Data * 2)(*(_Data(half, half, 0) for half in halves))
    _checked(_libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), data))


def _permitted() -> int:
    lines = (_SELF / "status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("CapPrm:")), 16)


def _prctl(option: int, argument: int) -> int:
    """prctl(2), which reads longs, and wants zeros where it reads nothing."""
    zero = ctypes.c_ulong(0)
    return int(_libc.prctl(option, ctypes.c_ulong(argument), zero, zero, zero))


def _checked(result: int) -> None:
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
