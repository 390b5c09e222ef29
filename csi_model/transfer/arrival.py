"""Arrival: one large Entry on its way in: its open ingest, its reader and its verifier.

Chunks come from any thread in any order. Each is hashed (tree hash) and written by the thread that fetched it. If the
source's Checksum needs order, a chunk that comes early keeps its buffer until its turn.
"""

import mmap
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress

from csi_model.core.manifest import Entry
from csi_model.core.treehash import chunk_count, chunk_digest, chunk_range
from csi_model.errors import NodeError, SourceCorrupt
from csi_model.sources.base import Source
from csi_model.store.base import Ingest
from csi_model.transfer.buffers import Buffers
from csi_model.transfer.fetching import Stopped
from csi_model.transfer.verifying import verifier_for


class Arrival:
    """An entry that is being fetched.

    Args:
        entry: more than one chunk large.
        ingest: open, closed by ``resources``.
        resources: taken over, and let go by :meth:`close`.
        source: where it comes from.
        buffers: the pool that buffers go back to.
        halted: whether to give up; asked while durable chunks are read back.

    """

    def __init__(
        self,
        entry: Entry,
        *,
        ingest: Ingest,
        resources: ExitStack,
        source: Source,
        buffers: Buffers,
        halted: Callable[[], bool],
    ) -> None:
        self.entry = entry
        self.ingest = ingest
        self._buffers = buffers
        self._halted = halted
        self._verifier = verifier_for(entry)
        self._lock = threading.Lock()
        self._turn = 0  # the next chunk that an in-order verifier wants
        self._early: dict[int, mmap.mmap] = {}
        self._durable = self._resumable()
        self._missing = set(range(chunk_count(entry.size))) - self._durable
        self._settled = False  # nothing is left to keep
        self.reader = resources.enter_context(source.open(entry))
        self._resources = resources.pop_all()

    def _resumable(self) -> set[int]:
        """Return the chunks of an earlier life that need no second fetch."""
        known = {index: chunk.note for index, chunk in self.ingest.landed.items()}
        return {
            index
            for index in range(chunk_count(self.entry.size))
            if index in known and (self._verifier.in_order or self._verifier.restore(index, known[index]))
        }

    @property
    def resumed_bytes(self) -> int:
        """Bytes of an earlier life that need no second fetch."""
        return sum(_length(index, self.entry.size) for index in self._durable)

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
            Stopped: it was given up while durable chunks were read back.
            StoreFull, StoreUnusable: it can't be written.

        """
        kept = False
        try:
            with memoryview(buffer) as whole, whole[: _length(index, self.entry.size)] as view:
                note = "" if self._verifier.in_order else self._verifier.take(index, view)
                self.ingest.write(index, view, digest=chunk_digest(view), note=note)
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
        scratch = None
        while self._turn < chunk_count(self.entry.size):
            length = _length(self._turn, self.entry.size)
            buffer = self._early.get(self._turn)
            if buffer is not None:
                with memoryview(buffer) as whole, whole[:length] as view:
                    self._verifier.take(self._turn, view)
                self._buffers.give_back(self._early.pop(self._turn))
            elif self._turn in self._durable:
                if self._halted():  # reading much of a large file back takes a while
                    raise Stopped
                scratch = scratch or bytearray(_length(0, self.entry.size))
                with memoryview(scratch) as whole, whole[:length] as view:
                    self.ingest.read_into(self._turn, view)
                    self._verifier.take(self._turn, view)
            else:
                return
            self._turn += 1

    def commit(self) -> None:
        """Check the whole, then make it a blob and let go of everything.

        Raises:
            Stopped: it was given up while durable chunks were read back.
            SourceCorrupt: the bytes aren't what the source said; the ingest is thrown away.
            StoreFull, StoreUnusable: it can't be made durable.

        """
        with self._lock:
            if self._verifier.in_order:
                self._advance()
        try:
            self._verifier.finish()
        except SourceCorrupt:
            self._settled = True
            self.ingest.discard()
            raise
        self.ingest.commit()
        self._settled = True
        self.close()

    def close(self) -> None:
        """Let go of the reader and of buffers that wait for their turn; what was written is kept. May be repeated."""
        with self._lock:
            while self._early:
                self._buffers.give_back(self._early.popitem()[1])
        if not self._settled:
            with suppress(NodeError):  # what can't be made durable now is fetched again, and costs nothing else
                self.ingest.checkpoint()
        self._settled = True
        self._resources.close()


def _length(index: int, size: int) -> int:
    start, end = chunk_range(index, size)
    return end - start
