"""Ingest: one not-yet-visible, resumable write with one writer, ending in commit or discard.

Chunks arrive in any order from any thread. A chunk counts once its bytes are durable *and* the ledger says so
(:meth:`Ingest.checkpoint`); what wasn't durable when the process died is fetched again, and nothing else.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

from csi_model.core.treehash import chunk_count, chunk_range, combine
from csi_model.store.durable import allocate, fsync_directory, pread_all, pwrite_all, start_writeback, translated
from csi_model.store.ledger import Landed, Ledger

DATA = "data"
LEDGER = "ledger"


class Ingest:
    """An open ingest.

    Args:
        directory: made if missing; holds ``data`` and ``ledger``.
        size: bytes of the finished file.
        label: what to call it in errors (the entry's path).

    Raises:
        StoreFull: the file system has no room for ``size`` bytes.
        StoreUnusable: any other I/O error.

    """

    def __init__(self, directory: Path, *, size: int, label: str) -> None:
        self.directory = directory
        self.size = size
        self.label = label
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._written: dict[int, Landed] = {}  # written, not durable yet
        with translated(f"making room for {label}"):
            directory.mkdir(mode=0o700, exist_ok=True)
            self._data = os.open(directory / DATA, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                self.reserved = allocate(self._data, size) if size else True
                self._ledger = Ledger(directory / LEDGER)
            except OSError:
                os.close(self._data)
                raise
            fsync_directory(directory)
            fsync_directory(directory.parent)

    @property
    def landed(self) -> Mapping[int, Landed]:
        """Chunks that are durable."""
        return self._ledger.landed

    @property
    def landed_bytes(self) -> int:
        """Bytes that are durable."""
        ranges = (chunk_range(index, self.size) for index in self._ledger.landed if index < chunk_count(self.size))
        return sum(end - start for start, end in ranges)

    def write(self, index: int, data: memoryview, *, digest: bytes, note: str = "") -> None:
        """Write one chunk; it counts after the next checkpoint.

        Args:
            index: which chunk.
            data: its bytes, whole.
            digest: its chunk digest (32 bytes).
            note: the caller's, given back by ``landed`` after a resume; no line breaks.

        Raises:
            StoreFull: the disk filled up.
            StoreUnusable: any other I/O error.

        """
        start, end = chunk_range(index, self.size)
        if len(data) != end - start:
            raise ValueError(f"chunk {index} of {self.label} has {len(data)} bytes, expected {end - start}")
        with translated(f"writing {self.label}"):
            pwrite_all(self._data, data, start)
            start_writeback(self._data, start, len(data))
        with self._lock:
            self._written[index] = Landed(digest, note)

    @property
    def pending_bytes(self) -> int:
        """Bytes written since the last checkpoint, at most."""
        with self._lock:
            return len(self._written) * chunk_range(0, self.size)[1]

    def checkpoint(self) -> None:
        """Make what was written durable, then say so in the ledger. Callers may write meanwhile.

        Raises:
            StoreFull, StoreUnusable: the chunks written since the last checkpoint don't count.

        """
        with self._syncing:
            with self._lock:
                written, self._written = self._written, {}
            if not written:
                return
            with translated(f"making {self.label} durable"):
                os.fdatasync(self._data)
                self._ledger.append(written)

    def read_into(self, index: int, view: memoryview) -> None:
        """Read a chunk back.

        Raises:
            StoreUnusable: it can't be read.

        """
        with translated(f"reading {self.label} back"):
            pread_all(self._data, view, chunk_range(index, self.size)[0])

    def seal(self) -> tuple[str, bytes]:
        """Make the whole file durable and immutable.

        Returns:
            Its Digest, and its chunks' digests, concatenated.

        Raises:
            ValueError: chunks are missing.
            StoreFull, StoreUnusable: it can't be made durable.

        """
        self.checkpoint()
        count = chunk_count(self.size)
        missing = [index for index in range(count) if index not in self.landed]
        if missing:
            raise ValueError(f"{self.label} lacks {len(missing)} of {count} chunks")
        digests = [self.landed[index].digest for index in range(count)]
        with translated(f"sealing {self.label}"):
            os.ftruncate(self._data, self.size)
            os.fchmod(self._data, 0o444)
            os.utime(self._data, (0, 0))
            os.fsync(self._data)
        return combine(digests, self.size), b"".join(digests)

    def close(self) -> None:
        """Stop writing; what is durable stays for the next one."""
        self._ledger.close()
        os.close(self._data)
