"""DiskIngest: one not-yet-visible, resumable write with one writer, ending in commit or discard.

Chunks arrive in any order from any thread. A chunk counts once its bytes are durable *and* the ledger says so
(:meth:`DiskIngest.checkpoint`); what wasn't durable when the process died is fetched again, and nothing else.
"""

import logging
import threading
from collections.abc import Mapping

from csi_model.core.manifest import Entry
from csi_model.core.treehash import chunk_count, chunk_range, combine
from csi_model.store.base import Landed
from csi_model.store.blobs import Blobs
from csi_model.store.data_file import DataFile
from csi_model.store.durable import fsync_directory, translated
from csi_model.store.identity import ingest_name
from csi_model.store.layout import Layout
from csi_model.store.ledger import Ledger

log = logging.getLogger(__name__)


class DiskIngest:
    """An open ingest.

    Args:
        layout: the store's paths.
        blobs: where the file goes at commit.
        origin: of the entry.
        entry: whose bytes are written.

    Raises:
        StoreFull: the file system has no room for the whole file.
        StoreUnusable: any other I/O error.

    """

    def __init__(self, layout: Layout, blobs: Blobs, origin: str, entry: Entry) -> None:
        self._layout = layout
        self._blobs = blobs
        self._origin = origin
        self._entry = entry
        self._directory = layout.ingest(ingest_name(origin, entry))
        self._path = layout.data(self._directory)
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._written: dict[int, Landed] = {}  # written, not durable yet
        with translated(f"making room for {entry.path}"):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            if self._path.exists():
                self._path.chmod(0o600)  # an earlier life may have died in the middle of its commit
            self._data = DataFile(self._path, entry.size)
            try:
                self._open_ledger()
            except BaseException:
                self._data.close()
                raise

    def _open_ledger(self) -> None:
        ledger = self._layout.ledger(self._directory)
        if self._data.fresh:
            # New, or committed before its ledger could be thrown away: the ledger speaks of other bytes.
            ledger.unlink(missing_ok=True)
        self._ledger = Ledger(ledger)
        try:
            fsync_directory(self._directory)
            fsync_directory(self._directory.parent)
        except BaseException:
            self._ledger.close()
            raise

    @property
    def reserved(self) -> bool:
        return self._data.reserved

    @property
    def landed(self) -> Mapping[int, Landed]:
        return self._ledger.landed

    @property
    def pending_bytes(self) -> int:
        with self._lock:
            return len(self._written) * chunk_range(0, self._entry.size)[1]

    def write(self, start: int, data: memoryview, *, cached: bool = True) -> None:
        if not 0 <= start < start + len(data) <= self._entry.size:
            raise ValueError(f"{self._entry.path} has no bytes {start} to {start + len(data)}")
        with translated(f"writing {self._entry.path}"):
            self._data.write(start, data, cached=cached)

    def land(self, index: int, *, digest: bytes, note: str = "") -> None:
        if not 0 <= index < chunk_count(self._entry.size):
            raise ValueError(f"{self._entry.path} has no chunk {index}")
        with self._lock:
            self._written[index] = Landed(digest, note)

    def checkpoint(self) -> None:
        with self._syncing:
            with self._lock:
                written, self._written = self._written, {}
            if not written:
                return
            with translated(f"making {self._entry.path} durable"):
                self._data.sync()
                self._ledger.append(written)

    def read_into(self, start: int, view: memoryview) -> None:
        with translated(f"reading {self._entry.path} back"):
            self._data.read_into(start, view)

    def commit(self) -> str:
        digest, chunks = self._seal()
        with translated(f"committing {self._entry.path}"):
            self._blobs.remember(self._origin, [(self._entry, digest)], durable=True)
            self._blobs.adopt([(str(self._path), digest, chunks)])
        try:
            self._directory.rename(self._layout.discarded(self._directory))
        except OSError as error:  # the blob is visible: raising would lie
            log.warning("can't throw the ingest of %s away: %s", self._entry.path, error)
        return digest

    def _seal(self) -> tuple[str, bytes]:
        """Make the whole file durable and immutable; returns its Digest and its chunks' digests, concatenated."""
        self.checkpoint()
        count = chunk_count(self._entry.size)
        missing = [index for index in range(count) if index not in self.landed]
        if missing:
            raise ValueError(f"{self._entry.path} lacks {len(missing)} of {count} chunks")
        digests = [self.landed[index].digest for index in range(count)]
        with translated(f"sealing {self._entry.path}"):
            self._data.seal(self._blobs.label)
        return combine(digests, self._entry.size), b"".join(digests)

    def discard(self) -> None:
        with translated(f"discarding {self._entry.path}"):
            self._directory.rename(self._layout.discarded(self._directory))

    def close(self) -> None:
        """Stop writing; what is durable stays for the next one."""
        self._ledger.close()
        self._data.close()
