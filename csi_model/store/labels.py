"""SELinux labels, set on everything that pods see before they can see it.

On a host with SELinux a container may read only what has its type (or a type for all). Runtimes relabel volumes for a
pod, but model files are hard links that all pods share: relabelling them for one would take them from the others. So
they carry one label that every container may read, from before they become visible.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from csi_model.errors import StoreUnusable

_ATTRIBUTE = "security.selinux"
_HINT = {
    errno.EOPNOTSUPP: "its file system has no labels, or the kernel no SELinux",
    errno.EPERM: "the driver isn't root here, or lacks a capability",
    errno.EACCES: "the policy forbids it",
    errno.EINVAL: "the policy knows no such label",
}


class Label:
    """One label for files and directories. Methods raise OSError.

    Args:
        text: ``user:role:type:level``; "" sets nothing.

    """

    def __init__(self, text: str = "") -> None:
        self._text = text
        self._value = text.encode() + b"\0"  # as the kernel gives it back

    def put(self, what: int | str | Path) -> None:
        """Label a file or directory, by its path or descriptor; a link is not followed."""
        if not self._text:
            return
        if isinstance(what, int):
            os.setxattr(what, _ATTRIBUTE, self._value)
        else:
            os.setxattr(what, _ATTRIBUTE, self._value, follow_symlinks=False)

    def is_on(self, path: Path) -> bool:
        """Tell whether a file or directory has it; anything has none."""
        if not self._text:
            return True
        try:
            found = os.getxattr(path, _ATTRIBUTE, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
            return False
        return found.rstrip(b"\0") == self._text.encode()

    def put_on_tree(self, top: Path) -> None:
        """Label a directory and all in it, the directory itself last: if that has it, all has."""
        for path in _below(top):
            self.put(path)
        self.put(top)

    def check(self, directory: Path) -> None:
        """Find out now whether the kernel takes it.

        Raises:
            StoreUnusable: it doesn't; the text says why and what to do.

        """
        if not self._text:
            return
        probe = directory / f"label-{token_hex(8)}"
        probe.touch(mode=0o600)
        try:
            self.put(probe)
        except OSError as error:
            hint = _HINT.get(error.errno or 0, "see the kernel's log")
            raise StoreUnusable(
                f"the store's files can't get the SELinux label {self._text}: {error.strerror} "
                f"({errno.errorcode.get(error.errno or 0, '?')}), {hint}; on a host without SELinux unset the label"
            ) from error
        finally:
            with suppress(OSError):
                probe.unlink()


def _below(top: Path) -> Iterator[str]:
    for directory, names, files in os.walk(top):
        yield from (f"{directory}/{name}" for name in (*names, *files))
