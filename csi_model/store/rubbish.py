"""Rubbish: what no tree, no hold and no running plan names: it goes first when the disk fills.

Nothing that may be half deleted by a crash is deleted where it lies: it is renamed into the trash first.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from csi_model.core.manifest import Manifest
from csi_model.store.blobs import Blobs
from csi_model.store.durable import fsync_directory, remove_tree
from csi_model.store.identity import ingest_name
from csi_model.store.layout import Layout
from csi_model.store.trees import Trees

log = logging.getLogger(__name__)
_FORGET_AFTER = 3600.0  # seconds; a note or manifest that has just been written is about to be named by something


class Rubbish:
    """Disposal in one store. Methods raise OSError; the store translates.

    Args:
        layout: its paths.
        blobs: its blobs.
        trees: its trees.
        protected: the manifests that running plans need, and those that are held but not staged.
        in_use: names under ``trees/`` and ``trash/`` that the mount table shows in use.
        sole_writer: takes an ingest from all others while its block runs; gives False if a writer has it.

    """

    def __init__(
        self,
        layout: Layout,
        blobs: Blobs,
        trees: Trees,
        *,
        protected: Callable[[], list[Manifest]],
        in_use: Callable[[], set[str]],
        sole_writer: Callable[[str], AbstractContextManager[bool]],
    ) -> None:
        self._layout = layout
        self._blobs = blobs
        self._trees = trees
        self._protected = protected
        self._in_use = in_use
        self._sole_writer = sole_writer
        self._sweeping = threading.Lock()

    def dispose(self, path: Path) -> None:
        """Rename a path into the trash, durably; the name of a tree stays readable in the mount table."""
        path.rename(self._layout.discarded(path))
        fsync_directory(path.parent)

    def sweep(self) -> None:
        """Empty the trash, except what a mount still shows."""
        with self._sweeping:
            rubbish = list(self._layout.trash.iterdir())
            in_use = self._in_use()  # asked after the listing: a mounted tree might have come in just before it
            for path in rubbish:
                if path.name not in in_use:
                    try:
                        remove_tree(path)
                    except OSError as error:
                        log.warning("can't delete %s: %s", path, error)

    def drop_ingests(self) -> None:
        """Delete unfinished ingests that no protected manifest names and nobody is writing."""
        needed = {ingest_name(m.origin, entry) for m in self._protected() for entry in m.entries}
        for path in self._layout.ingests.iterdir():
            if path.name not in needed:
                with self._sole_writer(path.name) as taken, suppress(FileNotFoundError):
                    if taken:
                        self.dispose(path)
        self.sweep()

    def needed(self) -> set[str]:
        """Return the Digests that protected manifests name, as far as they are here."""
        return {digest for manifest in self._protected() for digest in self._blobs.present(manifest).values()}

    def drop_blobs(self) -> None:
        """Delete blobs that no tree links to and no protected manifest names."""
        unlinked = set(self._blobs.unlinked())
        for digest in unlinked - self.needed():  # asked after the listing: a blob might have been committed since
            self._blobs.remove_unlinked(digest)

    def forget(self) -> None:
        """Drop notes and manifests that nothing can use any more."""
        before = time.time() - _FORGET_AFTER
        named = {manifest.digest for manifest in self._protected()}
        for path in self._layout.manifests.glob("*.json"):
            if path.stem not in named and self._trees.find(path.stem) is None:
                _unlink_if_older(path, before)
        for path, digest in self._blobs.notes.all():
            if not digest or not self._layout.blob(digest).is_file():
                _unlink_if_older(path, before)


def _unlink_if_older(path: Path, before: float) -> None:
    with suppress(FileNotFoundError):
        if path.lstat().st_mtime < before:
            path.unlink()
