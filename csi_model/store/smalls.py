"""DiskSmallFiles: files of a single chunk, written one by one and made durable together.

A model has dozens of small files and some have thousands; an fsync for each costs more than their bytes. They need
no ledger: one that didn't get to its rename is fetched again.
"""

import os
from pathlib import Path
from secrets import token_hex

from csi_model.core.manifest import Entry
from csi_model.core.treehash import combine
from csi_model.store.blobs import Blobs
from csi_model.store.durable import allocate, fsync_file, pwrite_all, start_writeback, syncfs, translated
from csi_model.store.layout import Layout

_FEW = 4  # files that are worth an fsync each; more are cheaper with one syncfs


class DiskSmallFiles:
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

    @property
    def pending_bytes(self) -> int:
        """Bytes that are not durable yet."""
        return sum(entry.size for entry, _, _ in self._files)

    def write(self, entry: Entry, data: memoryview, *, digest: bytes) -> None:
        if len(data) != entry.size:
            raise ValueError(f"{entry.path} has {len(data)} bytes, expected {entry.size}")
        path = self._layout.assembly / f"small-{token_hex(12)}"
        with translated(f"writing {entry.path}"):
            try:
                _write(path, data)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        self._files.append((entry, path, combine([digest], len(data))))

    def commit(self) -> None:
        files = [file for file in self._files if file[1].exists()]  # a commit that failed may have got to some
        with translated(f"making {len(files)} small files durable"):
            # Notes first: they mean nothing until the blobs appear, and become durable by the same syncfs.
            self._blobs.remember(self._origin, [(entry, digest) for entry, _, digest in files])
            if len(files) > _FEW:
                syncfs(self._layout.assembly)
            else:
                for _, path, _ in files:
                    fsync_file(path)
            self._blobs.adopt([(path, digest, b"") for _, path, digest in files])
        self._files = []

    def abandon(self) -> None:
        files, self._files = self._files, []
        for _, path, _ in files:
            path.unlink(missing_ok=True)


def _write(path: Path, data: memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        allocate(descriptor, len(data))
        pwrite_all(descriptor, data, 0)
        start_writeback(descriptor, 0, len(data))
        os.fchmod(descriptor, 0o444)
        os.utime(descriptor, (0, 0))
    finally:
        os.close(descriptor)
