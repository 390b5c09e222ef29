"""The contract of a Store, as far as the transfer and the warm-ups need one.

What is visible when:

- An *ingest* is the one unfinished write of an Entry's bytes. Nobody sees its bytes but its writer. Chunks written
  since the last :meth:`Ingest.checkpoint` vanish when the writer goes; those before it are there for the next
  writer, also after a crash. A *batch* of small files has no checkpoints: nothing counts before
  :meth:`SmallFiles.commit`.
- A *blob* appears at commit, whole, and never changes. :meth:`StagingStore.find` sees it from then on, and the ingest
  is gone.
- A *tree* appears in :meth:`StagingStore.assemble`, whole, once every Entry's blob is here. Anybody who sees it may
  bind it.
- What a Revision needs may be evicted at any time, unless somebody has it in :meth:`StagingStore.wanted` or holds it.
  So whoever brings a Revision wants it first, and plans again when :meth:`StagingStore.assemble` misses something.

Implementations (:class:`csi_model.store.store.Store`, the tests' fake) pass ``tests/contracts/store_contract.py``.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from csi_model.core.manifest import Entry, Manifest


@dataclass(frozen=True, slots=True)
class Landed:
    """A durable chunk: its digest (32 bytes) and the caller's note."""

    digest: bytes
    note: str


class Ingest(Protocol):
    """An open ingest: bytes in any order from any thread, counted by the chunk, ending in commit or discard."""

    @property
    def reserved(self) -> bool:
        """Whether the file system has set aside room for the whole file, so that writing can't fill the disk."""

    @property
    def landed(self) -> Mapping[int, Landed]:
        """Chunks that are durable, by index."""

    @property
    def pending_bytes(self) -> int:
        """Bytes of the chunks that landed since the last checkpoint, at most."""

    def write(self, start: int, data: memoryview, *, cached: bool = True) -> None:
        """Write some bytes of the file.

        Args:
            start: offset in bytes.
            data: any length; whole pages at page boundaries are the fast case.
            cached: whether they shall stay in the page cache, because somebody will read them soon.

        Raises:
            ValueError: the file has no such range.
            StoreFull: the disk filled up.
            StoreUnusable: any other I/O error.

        """

    def land(self, index: int, *, digest: bytes, note: str = "") -> None:
        """Say that all bytes of a chunk have been written; it counts after the next checkpoint.

        Args:
            index: which chunk.
            digest: its chunk digest (32 bytes).
            note: the caller's, given back by ``landed`` after a resume; no line breaks.

        Raises:
            ValueError: there is no such chunk.

        """

    def checkpoint(self) -> None:
        """Make what was written durable, then say so. Other threads may write meanwhile.

        Raises:
            StoreFull, StoreUnusable: the chunks written since the last checkpoint don't count.

        """

    def read_into(self, start: int, view: memoryview) -> None:
        """Fill a view with bytes of chunks that have landed, from an offset in bytes.

        Raises:
            StoreUnusable: it can't be read.

        """

    def commit(self) -> str:
        """Make the file durable, then visible as a blob; returns its Digest.

        Raises:
            ValueError: chunks are missing.
            StoreFull, StoreUnusable: it isn't visible, and can be committed again.

        """

    def discard(self) -> None:
        """Throw the ingest away: its bytes are wrong.

        Raises:
            StoreUnusable: it is still there.

        """


class SmallFiles(Protocol):
    """Files of one chunk, made durable together. For one thread."""

    def __len__(self) -> int:
        """Return how many files wait for :meth:`commit`."""

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for :meth:`commit`."""

    def write(self, entry: Entry, data: memoryview, *, digest: bytes, cached: bool = True) -> None:
        """Write one file, not durable and not visible yet.

        Args:
            entry: whose bytes they are.
            data: all of them: one chunk.
            digest: its chunk digest (32 bytes).
            cached: whether they shall stay in the page cache.

        Raises:
            StoreFull, StoreUnusable: the file doesn't belong to the batch.

        """

    def commit(self) -> None:
        """Make all files durable, then visible as blobs.

        Raises:
            StoreFull, StoreUnusable: some are not visible; the batch can be committed again or abandoned.

        """

    def abandon(self) -> None:
        """Delete what was written and not committed."""


class Reservation(AbstractContextManager["Reservation"], Protocol):
    """A promise of bytes; what is left of it goes back at the end of the block."""

    def used(self, size: int) -> None:
        """Count bytes that now lie on the disk, so that they are not counted twice."""

    def recheck(self) -> None:
        """Make sure that the disk still has what was promised: others may have filled it.

        Raises:
            StoreFull: it hasn't, even after eviction.

        """


class StagingStore(Protocol):
    """Where Revisions are staged. Safe to use from several threads."""

    def wanted(self, manifest: Manifest) -> AbstractContextManager[None]:
        """Keep what a Revision needs from eviction while the block runs: its blobs, ingests and tree."""

    def find(self, origin: str, entry: Entry) -> str | None:
        """Return the Digest of an entry's bytes if they are here; None for empty entries and for unknown ones."""

    def present(self, manifest: Manifest) -> Mapping[str, str]:
        """Return path → Digest of the entries whose bytes are here: :meth:`find` for all of a Revision at once."""

    def reserve(self, size: int) -> Reservation:
        """Promise room for ``size`` bytes, evicting what nothing holds if need be.

        Raises:
            StoreFull: it can't be had; the text says how much is missing and what could be evicted.

        """

    def allocated(self, origin: str, entry: Entry) -> int:
        """Return how many bytes of disk an unfinished ingest has already."""

    def ingest(self, origin: str, entry: Entry) -> AbstractContextManager[Ingest | None]:
        """Open the ingest of an entry; None if another writer has it just now.

        Raises:
            StoreFull: the file system has no room for the whole file.
            StoreUnusable: any other I/O error.

        """

    def wait_for_writers(self, timeout: float) -> None:
        """Wait until some ingest has been closed by its writer, at most ``timeout`` seconds."""

    def small_files(self, origin: str) -> SmallFiles:
        """Return an empty batch for entries of this Origin."""

    def tree(self, manifest: str) -> Path | None:
        """Return the directory to bind for a staged Revision (by Manifest digest), or None."""

    def assemble(self, manifest: Manifest) -> Path:
        """Build and reveal the tree of a Revision whose entries are all here; one that is there already is returned.

        Raises:
            LookupError: an entry's bytes are not here (any more).
            StoreFull, StoreUnusable: it can't be written.

        """
