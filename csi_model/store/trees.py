"""Trees: read-only directories of hard links that give blobs the Manifest's paths.

A tree is built under ``assembly/`` and appears by one rename: it exists ⇔ the Revision is staged here.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from csi_model.core.manifest import Manifest
from csi_model.core.treehash import is_digest
from csi_model.errors import SourceInvalid
from csi_model.store.blobs import Blobs
from csi_model.store.durable import fsync_directory, syncfs, write_file
from csi_model.store.layout import SMALL, Layout

_FEW = 16  # files that are worth an fsync each; more of them are cheaper with one syncfs


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
    """The trees of one store. Methods raise OSError; the store translates."""

    def __init__(self, layout: Layout, blobs: Blobs) -> None:
        self._layout = layout
        self._blobs = blobs

    def find(self, manifest: str) -> Path | None:
        """Return the directory to bind for a staged Revision, or None."""
        root = self._layout.tree_root(manifest)
        return root if is_digest(manifest) and root.is_dir() else None

    def all(self) -> Iterator[Tree]:
        """Yield every tree."""
        for path in sorted(self._layout.trees.iterdir()):
            try:
                released = path.stat().st_mtime
            except FileNotFoundError:
                continue
            yield Tree(path.name, path / "root", released, (path / "pinned").exists())

    def build(self, manifest: Manifest, digests: Mapping[str, str]) -> Path:
        """Build the tree of a Manifest from blobs that are all here.

        Args:
            manifest: the Revision.
            digests: path → Digest for every entry that isn't empty.

        Returns:
            The directory to bind.

        """
        existing = self.find(manifest.digest)
        if existing is not None:
            return existing
        work = self._layout.assembly / f"{manifest.digest[:16]}-{token_hex(4)}"
        root = work / "root"
        root.mkdir(parents=True, mode=0o700)
        directories = {root}
        copies: list[Path] = []
        for entry in manifest.entries:
            target = root / entry.path
            _make_parents(target.parent, directories)
            if entry.size == 0:
                target.touch(mode=0o444)
                os.utime(target, (0, 0))
            else:
                self._blobs.place(digests[entry.path], entry.size, target)
            if entry.size < SMALL:
                copies.append(target)
        index = "".join(f"{digests.get(e.path, '-')} {e.path}\n" for e in manifest.entries)
        (work / "index").write_text(index, encoding="utf-8")
        _seal(work, directories, copies)
        return self._reveal(work, manifest.digest)

    def _reveal(self, work: Path, manifest: str) -> Path:
        fsync_directory(work)
        os.utime(work)
        work.rename(self._layout.tree(manifest))
        fsync_directory(self._layout.trees)
        return self._layout.tree_root(manifest)

    def index(self, manifest: str) -> dict[str, str]:
        """Return path → Digest of a tree; empty files have ``-``.

        Raises:
            SourceInvalid: the index is damaged.

        """
        entries = {}
        for line in (self._layout.tree(manifest) / "index").read_text(encoding="utf-8").splitlines():
            digest, _, path = line.partition(" ")
            if not path or (digest != "-" and not is_digest(digest)):
                raise SourceInvalid(f"the index of tree {manifest[:12]} is damaged")
            entries[path] = digest
        return entries

    def touch(self, manifest: str) -> None:
        """Note that a tree's last hold has just ended."""
        os.utime(self._layout.tree(manifest))

    def pin(self, manifest: str) -> None:
        """Mark a tree to be evicted last."""
        path = self._layout.tree(manifest) / "pinned"
        if not path.exists():
            released = path.parent.stat().st_mtime
            write_file(path, b"")
            os.utime(path.parent, (released, released))

    def remove(self, manifest: str, dispose: Callable[[Path], None]) -> None:
        """Hand a tree's directory to ``dispose``."""
        dispose(self._layout.tree(manifest))


def _make_parents(directory: Path, made: set[Path]) -> None:
    missing = []
    while directory not in made:
        missing.append(directory)
        directory = directory.parent
    for path in reversed(missing):
        path.mkdir(mode=0o700)
        made.add(path)


def _seal(work: Path, directories: set[Path], copies: list[Path]) -> None:
    """Make a built tree durable, with constant times and read-only directories (deepest first)."""
    for directory in sorted(directories, key=lambda path: len(path.parts), reverse=True):
        os.utime(directory, (0, 0))
        directory.chmod(0o555)
    if len(copies) + len(directories) > _FEW:
        syncfs(work)
        return
    for path in [*copies, work / "index", *directories]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
