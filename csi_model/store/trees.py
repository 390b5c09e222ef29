"""Trees: read-only directories of hard links that give blobs the Manifest's paths.

A tree is built under ``assembly/`` and appears by one rename: it exists ⇔ the Revision is staged here.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from secrets import token_hex

from csi_model.core.manifest import Manifest
from csi_model.core.treehash import is_digest
from csi_model.errors import SourceInvalid
from csi_model.store.bell import Ring, nobody
from csi_model.store.blobs import Blobs
from csi_model.store.durable import fsync_all, remove_tree, settle, write_file
from csi_model.store.layout import SMALL, Layout

EMPTY = "-"
"""What stands for the Digest of an empty file, which has no blob."""
_FEW = 17  # files and directories that are worth an fsync each


@dataclass(frozen=True, slots=True)
class Tree:
    """A staged Revision on disk.

    Attributes:
        manifest: the Manifest digest.
        root: the directory that pods see.
        released: when its last hold ended, or when it was staged, in seconds since the epoch.
        pinned: whether it is evicted last.

    """

    manifest: str
    root: Path
    released: float
    pinned: bool


class Trees:
    """The trees of one store. Methods raise OSError; the store translates.

    Args:
        layout: its paths.
        blobs: its blobs.
        changed: called when a tree has appeared, is gone, or was given up by the last who held it.

    """

    def __init__(self, layout: Layout, blobs: Blobs, changed: Ring = nobody) -> None:
        self._changed = changed
        self._layout = layout
        self._blobs = blobs
        self.gate = threading.RLock()
        """Held while a tree is looked up for use, revealed or taken away: a short step in all cases."""

    def find(self, manifest: str) -> Path | None:
        """Return the directory to bind for a staged Revision, or None."""
        root = self._layout.tree_root(manifest)
        return root if is_digest(manifest) and root.is_dir() else None

    def all(self) -> Iterator[Tree]:
        """Yield every tree."""
        for path in sorted(self._layout.trees.iterdir()):
            if self.find(path.name) is not None:
                with suppress(FileNotFoundError):
                    released = path.stat().st_mtime
                    yield Tree(path.name, path / "root", released, self._layout.pinned(path.name).exists())

    def build(self, manifest: Manifest, digests: Mapping[str, str]) -> Path:
        """Build the tree of a Manifest from blobs that are all here.

        Args:
            manifest: the Revision.
            digests: path → Digest for every entry that isn't empty.

        Returns:
            The directory to bind.

        Raises:
            LookupError: a blob is gone, or was found damaged meanwhile.

        """
        condemnations = self._blobs.condemnations
        work = self._layout.assembly / f"{manifest.digest[:16]}-{token_hex(4)}"
        try:
            self._fill(work, manifest, digests)
            with self.gate:
                self._reveal(work, manifest.digest, condemnations)
        except BaseException:
            with suppress(OSError):
                remove_tree(work)
            raise
        self._changed()
        settle([self._layout.trees])
        return self._layout.tree_root(manifest.digest)

    def _fill(self, work: Path, manifest: Manifest, digests: Mapping[str, str]) -> None:
        root = work / "root"
        root.mkdir(parents=True, mode=0o700)
        directories = {root}
        written = [work / "index"]
        for parent, entries in groupby(manifest.entries, lambda entry: entry.path.rpartition("/")[0]):
            _make_parents(root / parent, directories)
            for entry in entries:
                target = f"{root}/{entry.path}"  # a string: see Layout.blob_text
                if entry.size == 0:
                    self._make_empty(Path(target))
                else:
                    self._blobs.place(digests[entry.path], entry.size, target)
                if entry.size < SMALL:
                    written.append(Path(target))
        for directory in directories:
            self._blobs.label.put(directory)
        index = "".join(f"{digests.get(e.path, EMPTY)} {e.path}\n" for e in manifest.entries)
        written[0].write_text(index, encoding="utf-8")
        _seal(work, directories, written)

    def _make_empty(self, path: Path) -> None:
        path.touch()
        self._blobs.label.put(path)
        path.chmod(0o444)
        os.utime(path, (0, 0))

    def _reveal(self, work: Path, manifest: str, condemnations: int) -> None:
        if self._blobs.condemnations != condemnations:  # the tree may have a link to what was condemned
            raise LookupError("a blob was found damaged meanwhile")
        if self.find(manifest) is not None:  # somebody else was faster
            remove_tree(work)
            return
        tree = self._layout.tree(manifest)
        if tree.exists():  # not by this program: a tree without a root
            tree.rename(self._layout.discarded(tree))
        os.utime(work)
        work.rename(tree)

    def relabel(self) -> None:
        """Give trees of a time with another label, or none, the label of today."""
        label = self._blobs.label
        for tree in self.all():
            with suppress(FileNotFoundError):
                if not label.is_on(tree.root):
                    label.put_on_tree(tree.root)

    def index(self, manifest: str) -> dict[str, str]:
        """Return path → Digest of a tree; empty files have EMPTY.

        Raises:
            SourceInvalid: the index is damaged.

        """
        entries = {}
        lines = self._layout.index(manifest).read_bytes().decode(errors="replace").split("\n")
        if lines.pop() or not lines:
            raise SourceInvalid(f"the index of tree {manifest[:12]} is damaged: it is cut off")
        for line in lines:
            digest, _, path = line.partition(" ")
            if not path or (digest != EMPTY and not is_digest(digest)):
                raise SourceInvalid(f"the index of tree {manifest[:12]} is damaged")
            entries[path] = digest
        return entries

    def touch(self, manifest: str) -> None:
        """Note that a tree's last hold has just ended; one that isn't there is no error."""
        with suppress(FileNotFoundError):
            os.utime(self._layout.tree(manifest))
            self._changed()

    def pin(self, manifest: str) -> None:
        """Mark a tree to be evicted last."""
        path = self._layout.pinned(manifest)
        if not path.exists():
            released = path.parent.stat().st_mtime
            write_file(path, b"", scratch=self._layout.assembly)
            os.utime(path.parent, (released, released))

    def remove(self, manifest: str, dispose: Callable[[Path], None]) -> None:
        """Hand a tree's directory to ``dispose``."""
        dispose(self._layout.tree(manifest))
        self._changed()


def _make_parents(directory: Path, made: set[Path]) -> None:
    missing = []
    while directory not in made:
        missing.append(directory)
        directory = directory.parent
    for path in reversed(missing):
        path.mkdir(mode=0o700)
        made.add(path)


def _seal(work: Path, directories: set[Path], written: list[Path]) -> None:
    """Make a built tree durable, with constant times and read-only directories (deepest first)."""
    for directory in sorted(directories, key=lambda path: len(path.parts), reverse=True):
        os.utime(directory, (0, 0))
        directory.chmod(0o555)
    fsync_all(written, [*directories, work], few=_FEW)
