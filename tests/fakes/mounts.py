"""Mounts in memory: the table behaves like the kernel's, and no file shows up anywhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from csi_model.errors import MountFailed
from csi_model.node.mounts import Mount

FLAGS = ("ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime")


class FakeMounts:
    """A mount table that tests can look into, and that refuses on request.

    Attributes:
        flags: what each live target was bound with.
        refuse: the text with which binds and unmounts fail, or None.

    """

    def __init__(self) -> None:
        self.flags: dict[Path, tuple[str, ...]] = {}
        self.refuse: str | None = None
        self._stacks: dict[Path, list[Mount]] = {}

    def bind_read_only(self, source: Path, target: Path, *, flags: Sequence[str] = ()) -> None:
        if self.refuse is not None:
            raise MountFailed(f"can't bind {source} onto {target}: {self.refuse}")
        for path in (source, target):
            if path.is_symlink() or not path.is_dir():
                raise MountFailed(f"can't bind {source} onto {target}: {path} is not a directory (ENOTDIR)")
        if not set(flags) <= set(FLAGS):
            raise MountFailed(f"can't bind onto {target}: unknown flag among {flags}")
        self.mount(source, target, read_only=True)
        self.flags[target] = tuple(flags)

    def mount(self, source: Path, target: Path, *, read_only: bool = False, device: str = "0:1") -> None:
        """Mount as somebody else would."""
        self._stacks.setdefault(target, []).append(Mount(target, source, device, read_only))

    def unmount(self, target: Path) -> None:
        if self.refuse is not None:
            raise MountFailed(f"can't unmount {target}: {self.refuse}")
        self._stacks.pop(target, None)
        self.flags.pop(target, None)

    def table(self) -> Mapping[Path, Mount]:
        return {target: stack[-1] for target, stack in list(self._stacks.items())}
