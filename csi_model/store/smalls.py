"""SmallFiles: files of a single chunk, written one by one and made durable together.

A model has dozens of small files and some have thousands; an fsync for each costs more than their bytes. They need
no ledger: one that didn't get to its rename is fetched again.
"""

import os
from pathlib import Path
from secrets import token_hex

from csi_model.core.manifest import Entry
from csi_model.core.treehash import combine
from csi_model.store.blobs import Blobs
from csi_model.store.durable import allocate, pwrite_all, start_writeback, syncfs, translated
from csi_model.store.layout import Layout

_FEW = 4  # files that are worth an fsync each; more are cheaper with one syncfs


class SmallFiles:
    """A batch in the making, used by one thread.

    Args:
        layout: the store's paths.
        blobs: where the files go.
        origin: of the Manifest whose entries they are.

    """

    def __init__(self, layout: Layout, blobs: Blobs, origin: str) -> None:
        self._layout = layout
        self._blobs = blobs
        self._origin = origin
        self._files: list[tuple[Entry, Path, str]] = []

    def __len__(self) -> int:
        return len(self._files)

    def write(self, entry: Entry, data: memoryview, *, digest: bytes) -> None:
        """Write one file, not durable and not visible yet.

        Args:
            entry: whose bytes they are.
            data: all of them: one chunk.
            digest: its chunk digest (32 bytes).

        Raises:
            StoreFull: the disk filled up.
            StoreUnusable: any other I/O error.

        """
        path = self._layout.assembly / f"small-{token_hex(12)}"
        with translated(f"writing {entry.path}"):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
            try:
                allocate(descriptor, len(data))
                pwrite_all(descriptor, data, 0)
                start_writeback(descriptor, 0, len(data))
                os.fchmod(descriptor, 0o444)
                os.utime(descriptor, (0, 0))
            finally:
                os.close(descriptor)
        self._files.append((entry, path, combine([digest], len(data))))

    def commit(self) -> int:
        """Make all files durable, then visible as blobs.

        Returns:
            The number of bytes that became visible.

        Raises:
            StoreFull, StoreUnusable: none of them counts.

        """
        files, self._files = self._files, []
        if not files:
            return 0
        with translated(f"making {len(files)} small files durable"):
            if len(files) > _FEW:
                syncfs(self._layout.assembly)
            else:
                for _, path, _ in files:
                    _fsync(path)
            self._blobs.adopt([(path, digest, b"") for _, path, digest in files])
            self._blobs.remember(self._origin, [(entry, digest) for entry, _, digest in files])
        return sum(entry.size for entry, _, _ in files)

    def abandon(self) -> None:
        """Delete what was written and not committed."""
        files, self._files = self._files, []
        for _, path, _ in files:
            path.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
