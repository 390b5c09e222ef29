"""Retention: which copies go when the disk fills. What is held, published or being brought here never does.

The order: rubbish, unfinished ingests that nobody wants, blobs without a tree, then trees: the one released longest
ago first, pinned ones last. Nothing is deleted where it lies: it is renamed into the trash first, so that a crash
never leaves half a tree that looks whole.
"""

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from csi_model.core.manifest import Manifest
from csi_model.errors import SourceInvalid
from csi_model.store.blobs import Blobs
from csi_model.store.durable import fsync_directory, remove_tree
from csi_model.store.holds import Holds
from csi_model.store.identity import ingest_name
from csi_model.store.layout import SMALL, Layout
from csi_model.store.trees import Tree, Trees

log = logging.getLogger(__name__)


class Retention:
    """Eviction over one store.

    Args:
        layout: its paths.
        blobs: its blobs.
        trees: its trees.
        holds: its holds.
        protected: the manifests that running or held plans need.
        in_use: names under ``trees/`` and ``trash/`` that the mount table shows in use.

    """

    def __init__(
        self,
        layout: Layout,
        blobs: Blobs,
        trees: Trees,
        holds: Holds,
        *,
        protected: Callable[[], list[Manifest]],
        in_use: Callable[[], set[str]],
    ) -> None:
        self._layout = layout
        self._blobs = blobs
        self._trees = trees
        self._holds = holds
        self._protected = protected
        self._in_use = in_use
        self.gate = threading.RLock()
        """Held while a tree is looked up for use, and while one is taken away: a short step in both cases."""

    def evictable(self) -> list[Tree]:
        """Return the trees that may go, first to go first."""
        kept = self._holds.held() | self._in_use() | {manifest.digest for manifest in self._protected()}
        trees = [tree for tree in self._trees.all() if tree.manifest not in kept]
        return sorted(trees, key=lambda tree: (tree.pinned, tree.released))

    def evictable_bytes(self, trees: list[Tree]) -> int:
        """Count the bytes that evicting these trees would free: blobs that no other tree links to."""
        links: Counter[str] = Counter()
        total = 0
        for tree in trees:
            with suppress(OSError, SourceInvalid):
                links.update(d for d in self._trees.index(tree.manifest).values() if d != "-")
        for digest, count in links.items():
            with suppress(FileNotFoundError):
                files = [path.stat() for path in self._blobs.files_of(digest)]
                small = bool(files) and files[0].st_size < SMALL
                if files and (small or sum(status.st_nlink - 1 for status in files) <= count):
                    total += sum(status.st_blocks * 512 for status in files)
        return total

    def make_room(self, enough: Callable[[], bool], *, lacking: int) -> int:
        """Evict until ``enough()``.

        Args:
            enough: asked after each step.
            lacking: bytes wanted; if everything together can't give them, no tree is touched.

        Returns:
            Bytes of trees that could have gone but wouldn't have sufficed; 0 if there is enough now.

        """
        for step in (self.sweep, self._drop_ingests, self._drop_blobs):
            step()
            if enough():
                return 0
        trees = self.evictable()
        possible = self.evictable_bytes(trees)
        if possible < lacking:
            return possible
        for tree in trees:
            self.evict(tree.manifest)
            if enough():
                return 0
        return 0

    def evict(self, manifest: str) -> bool:
        """Take one tree away, and the blobs that only it linked to.

        Returns:
            Whether it went; False if somebody has come to hold it, or it isn't there.

        """
        with self.gate:
            if manifest in self._holds.held() | self._in_use() or self._trees.find(manifest) is None:
                return False
            self._trees.remove(manifest, self._discard)
        log.info("evicted the copy of revision %s", manifest[:12])
        self.sweep()
        self._drop_blobs()
        return True

    def condemn(self, digest: str) -> list[str]:
        """Take a damaged blob away with every tree that has it, so that the next staging fetches it anew.

        Pods that have one of them mounted keep it; the files are deleted when the mount is gone.

        Returns:
            Manifest digests of the trees that went.

        """
        gone = []
        with self.gate:
            for tree in list(self._trees.all()):
                with suppress(FileNotFoundError):
                    if digest in self._trees.index(tree.manifest).values():
                        self._trees.remove(tree.manifest, self._discard)
                        gone.append(tree.manifest)
            self._blobs.remove(digest, self._discard, all_files=True)
        self.sweep()
        return gone

    def sweep(self) -> None:
        """Empty the trash, except what a mount still shows."""
        in_use = self._in_use()
        for path in self._layout.trash.iterdir():
            if path.name not in in_use:
                try:
                    remove_tree(path)
                except OSError as error:
                    log.warning("can't delete %s: %s", path, error)

    def forget(self) -> None:
        """Drop notes and manifests that nothing can use any more."""
        protected = {manifest.digest for manifest in self._protected()} | self._holds.held()
        for path in self._layout.manifests.glob("*.json"):
            if path.stem not in protected and self._trees.find(path.stem) is None:
                path.unlink(missing_ok=True)
        for path in _files(self._layout.knowns):
            digest = path.read_text(encoding="ascii", errors="replace")
            if not self._layout.blob(digest[:64]).exists():
                path.unlink(missing_ok=True)

    def _discard(self, path: Path) -> None:
        """Rename into the trash; the name of a tree stays readable in the mount table."""
        path.rename(self._layout.trash / f"{path.name}.{token_hex(4)}")
        fsync_directory(path.parent)

    def _drop_ingests(self) -> None:
        needed = {ingest_name(m.origin, entry) for m in self._protected() for entry in m.entries}
        for path in self._layout.ingests.iterdir():
            if path.name not in needed and len(path.name) == 64 and path.is_dir():  # noqa: PLR2004 - a sha256
                self._discard(path)
        self.sweep()

    def _drop_blobs(self) -> None:
        found = (self._blobs.find(m.origin, entry) for m in self._protected() for entry in m.entries)
        needed = {digest for digest in found if digest is not None}
        for digest, _ in list(self._blobs.unreferenced(needed)):
            with suppress(FileNotFoundError):
                self._blobs.remove(digest, Path.unlink)


def _files(directory: Path) -> Iterator[Path]:
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        else:
            yield Path(entry.path)
