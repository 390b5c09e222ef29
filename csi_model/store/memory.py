"""Memory: how much of the page cache may be filled now without pushing out a running workload.

``MemAvailable`` is no answer: it counts the *active* file pages, which are the weights that other pods work with. The
kernel takes free pages first, then inactive file pages, so these two are the room. Pages that are mapped and lie on
the inactive list all the same (weights that were loaded once and are used through their mapping) are not part of it.

A reserve is left alone. Kubelet counts active file pages as used and evicts pods when memory.available runs low; what
was filled here turns active once pods use it, and then the reserve is what kubelet sees.

Page cache is charged to the cgroup of whoever reads or writes it first, so the limits of this process's cgroup and of
those above it (as far as they are visible from here) bound it too, version 1 and 2 alike. The smallest room wins.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from csi_model.settings import MIB

_RESERVE = 512 * MIB
"""Bytes that stay free at least; also of a cgroup, so a driver confined to less than that keeps nothing in memory."""
_RESERVED_PART = 20  # … or one part in 20 of all: the larger one
_REMEMBERED = 0.1  # seconds; a fast disk fills 0.2 GB in that time, which the reserve covers


@dataclass(frozen=True, slots=True)
class _Pool:
    """The memory of the machine or of a cgroup, in bytes: what is free beyond the reserve, and idle file pages."""

    free: int
    idle: int

    def room(self, kept: int) -> int:
        return self.free + max(0, self.idle - kept)


_NOTHING = _Pool(0, 0)


@dataclass(frozen=True, slots=True)
class _Names:
    """What the files of a cgroup version are called."""

    limits: tuple[str, ...]
    usage: str
    active: str
    inactive: str
    mapped: str


_V2 = _Names(("memory.max", "memory.high"), "memory.current", "active_file", "inactive_file", "file_mapped")
_V1 = _Names(
    ("memory.limit_in_bytes",), "memory.usage_in_bytes",
    "total_active_file", "total_inactive_file", "total_mapped_file",
)  # fmt: skip


class Memory:
    """The memory that this process may use. Safe to use from several threads; looks again every 0.1 s.

    Args:
        proc: where procfs is.
        cgroups: where the cgroup hierarchies are.
        clock: seconds, never backwards.

    """

    def __init__(
        self,
        proc: Path = Path("/proc"),
        cgroups: Path = Path("/sys/fs/cgroup"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._proc = proc
        self._cgroups = cgroups
        self._clock = clock
        self._lock = threading.Lock()
        self._pools: list[_Pool] = []
        self._looked = float("-inf")

    def room(self, *, kept: int = 0) -> int:
        """Return how many more bytes of page cache may be filled now. Never raises.

        Memory that can't be read has no room; a cgroup whose limit can't be read counts as unlimited, one with a limit
        and no readable usage as full.

        Args:
            kept: bytes that the caller has put there already and wants to stay. Nobody else can tell them from idle
                pages of others, so without this the room would never get smaller while it is being filled.

        """
        with self._lock:
            now = self._clock()
            if now - self._looked >= _REMEMBERED:
                self._pools = [self._machine(), *self._groups()]
                self._looked = now
            return max(0, min(pool.room(kept) for pool in self._pools))

    def _machine(self) -> _Pool:
        try:
            found = _numbers(self._proc / "meminfo")
            sizes = {name: found[name + ":"] * 1024 for name in ("MemTotal", "MemFree", "Mapped")}
            active, inactive = found["Active(file):"] * 1024, found["Inactive(file):"] * 1024
        except (OSError, ValueError, KeyError):
            return _NOTHING
        return _Pool(sizes["MemFree"] - _reserve(sizes["MemTotal"]), _idle(active, inactive, sizes["Mapped"]))

    def _groups(self) -> Iterator[_Pool]:
        for top, path, names in self._own_groups():
            # In a container the path may be the host's while only the container's own part is mounted: then none of
            # the directories below the top exists, and the top is our cgroup.
            steps = [name for name in path.split("/") if name not in ("", "..")]
            for depth in range(len(steps) + 1):
                yield from _group(top.joinpath(*steps[:depth]), names)

    def _own_groups(self) -> Iterator[tuple[Path, str, _Names]]:
        with suppress(OSError):
            for line in (self._proc / "self/cgroup").read_text(errors="replace").splitlines():
                _, _, rest = line.partition(":")
                controllers, _, path = rest.partition(":")
                if not controllers:
                    yield self._cgroups, path, _V2
                elif "memory" in controllers.split(","):
                    yield self._cgroups / "memory", path, _V1


def _group(directory: Path, names: _Names) -> Iterator[_Pool]:
    for name in names.limits:
        try:
            limit = int((directory / name).read_text())
        except (OSError, ValueError):  # there is none: the root has no file, and an unlimited group says "max"
            continue
        try:
            used = int((directory / names.usage).read_text())
            found = _numbers(directory / "memory.stat")
            idle = _idle(found[names.active], found[names.inactive], found[names.mapped])
        except (OSError, ValueError, KeyError):
            yield _NOTHING
        else:
            yield _Pool(limit - used - _reserve(limit), idle)


def _reserve(total: int) -> int:
    return max(_RESERVE, total // _RESERVED_PART)


def _idle(active: int, inactive: int, mapped: int) -> int:
    """Return the inactive file pages less those that must be mapped ones: more are mapped than there are active."""
    return max(0, inactive - max(0, mapped - active))


def _numbers(path: Path) -> dict[str, int]:
    """Read lines of a name and a number, with or without a unit after it."""
    found = {}
    for line in path.read_text(errors="replace").splitlines():
        name, number, *_ = line.split()
        found[name] = int(number)
    return found


_MACHINE = Memory()


def room(*, kept: int = 0) -> int:
    """Return :meth:`Memory.room` of this process on this machine."""
    return _MACHINE.room(kept=kept)
