"""DiskSmallFiles: files of a single chunk, written one by one and made durable together.

A model has dozens of small files and some have thousands; an fsync for each costs more than their bytes. They need
no ledger: one that didn't get to its rename is fetched again.
"""

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from csi_model.core.manifest import Entry
from csi_model.core.treehash import combine
from csi_model.settings import MIB
from csi_model.store.blobs import Blobs
from csi_model.store.durable import allocate, fsync_all, pwrite_all, start_writeback, translated
from csi_model.store.labels import Label
from csi_model.store.layout import Layout

_LARGE = MIB  # bytes from which a file is worth asking for its blocks, and for its write-back, by itself


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
        self._prefix = f"{layout.assembly}/small-{token_hex(12)}-"
        self._written = 0
        self._failed = False
        self._files: list[tuple[Entry, str, str]] = []
        self._to_forget: list[str] = []

    def __len__(self) -> int:
        return len(self._files)

    @property
    def pending_bytes(self) -> int:
        """Bytes that are not durable yet."""
        return sum(entry.size for entry, _, _ in self._files)

    def write(self, entry: Entry, data: memoryview, *, digest: bytes, cached: bool = True) -> None:
        if len(data) != entry.size:
            raise ValueError(f"{entry.path} has {len(data)} bytes, expected {entry.size}")
        path = f"{self._prefix}{self._written}"
        self._written += 1
        with translated(f"writing {entry.path}"):
            try:
                _write(path, data, self._blobs.label)
            except BaseException:
                Path(path).unlink(missing_ok=True)
                raise
        self._files.append((entry, path, combine([digest], len(data))))
        if not cached:
            self._to_forget.append(path)

    def commit(self) -> None:
        if self._failed:  # the commit before may have got to some of them
            self._files = [file for file in self._files if Path(file[1]).exists()]
        self._failed = True
        with translated(f"making {len(self._files)} small files durable"):
            # Notes first: they mean nothing until the blobs appear, and become durable by the same syncfs.
            self._blobs.remember(self._origin, [(entry, digest) for entry, _, digest in self._files])
            fsync_all([path for _, path, _ in self._files], [])
            for path in self._to_forget:
                _forget(path)
            self._blobs.adopt([(path, digest, b"") for _, path, digest in self._files])
        self._files, self._to_forget, self._failed = [], [], False

    def abandon(self) -> None:
        files, self._files, self._to_forget = self._files, [], []
        for _, path, _ in files:
            Path(path).unlink(missing_ok=True)


def _write(path: str, data: memoryview, label: Label) -> None:
    # Plain strings and few system calls: for small files, this is what their time goes to.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if len(data) >= _LARGE:
            allocate(descriptor, len(data))
        pwrite_all(descriptor, data, 0)
        if len(data) >= _LARGE:
            start_writeback(descriptor, 0, len(data))
        label.put(descriptor)
        os.fchmod(descriptor, 0o444)  # whatever the umask is
        os.utime(descriptor, (0, 0))
    finally:
        os.close(descriptor)


def _forget(path: str) -> None:
    """Let the kernel drop the pages of a durable file: nobody waits for it."""
    with suppress(FileNotFoundError):  # a commit that failed in the middle is repeated
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
