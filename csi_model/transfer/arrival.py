"""Arrival: one large Entry on its way in: its open ingest, its reader and its verifier.

Chunks come from any thread in any order. Each is hashed (tree hash) and written by the thread that fetched it. If the
source's Checksum needs order, a chunk that comes early keeps its buffer until its turn.
"""

import mmap
import threading
from contextlib import ExitStack

from csi_model.core.manifest import Entry
from csi_model.core.treehash import CHUNK, chunk_count, chunk_digest, chunk_range
from csi_model.errors import SourceCorrupt
from csi_model.sources.base import Source
from csi_model.store.ingest import Ingest
from csi_model.store.store import Store
from csi_model.transfer.buffers import Buffers
from csi_model.transfer.meter import Meter
from csi_model.transfer.verifying import verifier_for


class Arrival:
    """An entry that is being fetched.

    Args:
        entry: more than one chunk large.
        origin: of its Manifest.
        store: where it goes.
        ingest: open.
        source: where it comes from.
        buffers: the pool that buffers go back to.
        meter: counts.

    """

    def __init__(
        self, entry: Entry, *, origin: str, store: Store, ingest: Ingest, source: Source, buffers: Buffers, meter: Meter
    ) -> None:
        self.entry = entry
        self.ingest = ingest
        self._origin = origin
        self._store = store
        self._buffers = buffers
        self._meter = meter
        self._verifier = verifier_for(entry)
        self._lock = threading.Lock()
        self._turn = 0  # the next chunk that an in-order verifier wants
        self._early: dict[int, mmap.mmap] = {}
        self._durable = self._resumable()
        self._missing = set(range(chunk_count(entry.size))) - self._durable
        self._resources = ExitStack()
        self.reader = self._resources.enter_context(source.open(entry))

    def _resumable(self) -> set[int]:
        """Return the chunks of an earlier life that need no second fetch."""
        durable = set()
        for index, landed in self.ingest.landed.items():
            if 0 <= index < chunk_count(self.entry.size) and (
                self._verifier.in_order or self._verifier.restore(index, landed.note)
            ):
                durable.add(index)
                self._meter.resumed(_length(index, self.entry.size))
        return durable

    def chunks(self) -> list[int]:
        """Return the chunks that have yet to land, in order."""
        with self._lock:
            return sorted(self._missing)

    def land(self, index: int, buffer: mmap.mmap) -> bool:
        """Hash, check and write a chunk; the buffer goes back to the pool by itself, also after an error.

        Args:
            index: which.
            buffer: begins with its bytes.

        Returns:
            Whether this was the last chunk that was missing.

        Raises:
            StoreFull, StoreUnusable: it can't be written.

        """
        length = _length(index, self.entry.size)
        kept = False
        try:
            with memoryview(buffer) as whole, whole[:length] as view:
                note = "" if self._verifier.in_order else self._verifier.take(index, view)
                self.ingest.write(index, view, digest=chunk_digest(view), note=note)
            self._meter.landed(length)
            with self._lock:
                if self._verifier.in_order:
                    self._early[index] = buffer
                    kept = True
                    self._advance()
                self._missing.discard(index)
                return not self._missing
        finally:
            if not kept:
                self._buffers.give_back(buffer)

    def _advance(self) -> None:
        """Feed the in-order verifier as far as chunks are here; called with the lock held."""
        count = chunk_count(self.entry.size)
        while self._turn < count:
            length = _length(self._turn, self.entry.size)
            buffer = self._early.get(self._turn)
            if buffer is not None:
                with memoryview(buffer) as whole, whole[:length] as view:
                    self._verifier.take(self._turn, view)
                self._buffers.give_back(self._early.pop(self._turn))
            elif self._turn in self._durable:
                with memoryview(bytearray(length)) as view:
                    self.ingest.read_into(self._turn, view)
                    self._verifier.take(self._turn, view)
            else:
                return
            self._turn += 1

    def commit(self) -> None:
        """Check the whole, then make it a blob.

        Raises:
            SourceCorrupt: the bytes aren't what the source said; the ingest is thrown away.
            StoreFull, StoreUnusable: it can't be made durable.

        """
        with self._lock:
            if self._verifier.in_order:
                self._advance()
        try:
            self._verifier.finish()
        except SourceCorrupt:
            self._store.discard(self.ingest)
            self._meter.lost(self.entry.size)
            raise
        self._store.commit(self._origin, self.entry, self.ingest)

    def close(self) -> None:
        """Let go of the reader and of buffers that still wait for their turn."""
        with self._lock:
            while self._early:
                self._buffers.give_back(self._early.popitem()[1])
        self._resources.close()


def _length(index: int, size: int) -> int:
    start, end = chunk_range(index, size)
    assert 0 < end - start <= CHUNK  # noqa: S101 - a wrong index is a bug, and would corrupt a file
    return end - start
