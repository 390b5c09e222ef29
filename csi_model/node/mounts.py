"""The contract of Mounts: who binds trees onto targets, and the only truth about what is mounted.

The kernel's mount table alone says whether a target is live; nothing else remembers it. Implementations
(:class:`csi_model.node.linux_mounts.LinuxMounts`, the tests' fake) pass ``tests/contracts/mounts_contract.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the mount table.

    Attributes:
        target: where it is mounted.
        root: the directory *within its file system* that is mounted there (mountinfo's fourth field).
        device: ``major:minor`` of the file system.
        read_only: whether this mount refuses writes.

    """

    target: Path
    root: Path
    device: str
    read_only: bool


class Mounts(Protocol):
    """Binds and unbinds. Safe to use from several threads on different targets."""

    def bind_read_only(self, source: Path, target: Path, *, flags: Sequence[str] = ()) -> None:
        """Bind a directory onto a target, read-only from the first instant that anybody can see it.

        The target is an existing directory and nothing is mounted there.

        Args:
            source: an existing directory.
            target: an existing directory.
            flags: more of ``nosuid, nodev, noexec, noatime, nodiratime, relatime, ro``; nosuid and nodev are always on.

        Raises:
            MountFailed: the kernel refused; nothing is mounted.

        """

    def unmount(self, target: Path) -> None:
        """Remove every mount that lies at exactly this target; one where nothing is mounted is no error.

        Works when what was mounted has been deleted, and never follows a symbolic link. If a process still has
        files open there, the mount is detached: gone from the tree at once, given back when the process ends.

        Raises:
            MountFailed: the kernel refused.

        """

    def table(self) -> Mapping[Path, Mount]:
        """Return what is mounted in this mount namespace now, the topmost mount of each target.

        Raises:
            MountFailed: the table can't be read.

        """
