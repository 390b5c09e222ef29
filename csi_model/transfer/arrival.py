"""Arrival: one large Entry on its way in: its open ingest, its reader and its verifier.

Its chunks are handed out in runs, and each is hashed and written block by block by the thread that fetches it
(:class:`Landing`). If the source's Checksum needs the bytes in order, a chunk that comes early keeps its buffer until
its turn; one thread at a time feeds them to the hash, and no other waits for it.
"""

import itertools
import mmap
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress

from blake3 import blake3

from csi_model.core.manifest import Entry
from csi_model.core.treehash import chunk_count, chunk_length, chunk_range
from csi_model.errors import NodeError, SourceCorrupt
from csi_model.sources.base import Source
from csi_model.store.base import Ingest
from csi_model.transfer.buffers import BLOCK
from csi_model.transfer.fetching import Stopped
from csi_model.transfer.verifying import Verifier, verifier_for


class Landing:
    """One chunk between the network and the disk: each block is hashed, summed and written while it is hot.

    Args:
        index: which chunk.
        entry: of which file.
        ingest: where it goes.
        verifier: of the file.
        cached: whether it shall stay in the page cache.

    Attributes:
        index: which chunk.

    """

    def __init__(self, index: int, entry: Entry, ingest: Ingest, verifier: Verifier, *, cached: bool) -> None:
        self.index = index
        self._position, self._end = chunk_range(index, entry.size)
        self._ingest = ingest
        self._verifier = verifier
        self._cached = cached
        self._hash = blake3()
        self._piece = verifier.piece(index)

    def take(self, block: memoryview) -> bool:
        """Take the next block in; tells whether the chunk is whole now.

        Raises:
            StoreFull, StoreUnusable: it can't be written.

        """
        self._hash.update(block)
        self._piece.update(block)
        self._ingest.write(self._position, block, cached=self._cached)
        self._position += len(block)
        if self._position < self._end:
            return False
        note = self._verifier.landed(self.index, self._piece)
        self._ingest.land(self.index, digest=self._hash.digest(), note=note)
        return True


class Arrival:
    """An entry that is being fetched.

    Args:
        entry: more than one chunk large.
        ingest: open, closed by ``resources``.
        resources: taken over, and let go by :meth:`close`.
        source: where it comes from.
        give_back: takes buffers that have waited for their turn.
        halted: whether to give up; asked while durable chunks are read back.

    """

    def __init__(
        self,
        entry: Entry,
        *,
        ingest: Ingest,
        resources: ExitStack,
        source: Source,
        give_back: Callable[[mmap.mmap], None],
        halted: Callable[[], bool],
    ) -> None:
        self.entry = entry
        self.ingest = ingest
        self.verifier = verifier_for(entry)
        self._give_back = give_back
        self._halted = halted
        self._lock = threading.Lock()
        self._turn = 0  # the next chunk that an in-order verifier wants
        self._feeding = False
        self._early: dict[int, mmap.mmap] = {}
        self._durable = self._resumable()
        self._missing = set(range(chunk_count(entry.size))) - self._durable
        self._to_fetch = deque(sorted(self._missing))
        self._complete = False
        self._settled = False  # nothing is left to keep
        self.reader = resources.enter_context(source.open(entry))
        self._resources = resources.pop_all()

    def _resumable(self) -> set[int]:
        """Return the chunks of an earlier life that need no second fetch."""
        known = {index: chunk.note for index, chunk in self.ingest.landed.items()}
        return {
            index
            for index in range(chunk_count(self.entry.size))
            if index in known and (self.verifier.in_order or self.verifier.restore(index, known[index]))
        }

    @property
    def resumed_bytes(self) -> int:
        """Bytes of an earlier life that need no second fetch."""
        return sum(chunk_length(index, self.entry.size) for index in self._durable)

    @property
    def left(self) -> int:
        """How many chunks nobody has taken yet."""
        return len(self._to_fetch)

    def next_run(self, most: int) -> range:
        """Hand out the next chunks, at most so many, one behind the other; for one thread at a time."""
        first = last = self._to_fetch.popleft()
        while self._to_fetch and self._to_fetch[0] == last + 1 and last - first + 1 < most:
            last = self._to_fetch.popleft()
        return range(first, last + 1)

    def landing(self, index: int, *, cached: bool) -> Landing:
        """Begin a chunk."""
        return Landing(index, self.entry, self.ingest, self.verifier, cached=cached)

    def landed(self, index: int, buffer: mmap.mmap | None) -> bool:
        """Count a chunk that is whole and written.

        Args:
            index: which.
            buffer: taken over: its bytes, for a verifier that wants them in order; else None.

        Returns:
            Whether everything is here now: True once, for whoever is to commit.

        Raises:
            Stopped: it was given up while durable chunks were read back.
            StoreUnusable: they can't be read.

        """
        with self._lock:
            self._missing.discard(index)
            if buffer is not None:
                self._early[index] = buffer
        return self.claim_if_whole()

    def claim_if_whole(self) -> bool:
        """Tell once whether all chunks are here, also from an earlier life; raises as :meth:`landed`."""
        self._feed()
        with self._lock:
            fed = not self.verifier.in_order or self._turn == chunk_count(self.entry.size)
            complete = fed and not self._missing and not self._complete
            self._complete = self._complete or complete
            return complete

    def _feed(self) -> None:
        """Feed a verifier that wants order as far as chunks are here, unless another thread is doing so already."""
        with self._lock:
            if self._feeding or not self.verifier.in_order:
                return
            self._feeding = True
        try:
            while self._is_turn():
                self._feed_chunk()
        except BaseException:
            with self._lock:
                self._feeding = False
            raise

    def _is_turn(self) -> bool:
        """Tell whether the next chunk is here; if not, whoever brings it feeds it."""
        with self._lock:
            self._feeding = self._turn in self._early or self._turn in self._durable
            return self._feeding

    def _feed_chunk(self) -> None:
        length = chunk_length(self._turn, self.entry.size)
        buffer = self._early.get(self._turn)
        if buffer is not None:
            with memoryview(buffer) as whole, whole[:length] as view:
                self.verifier.feed(view)
            with self._lock:
                del self._early[self._turn]
                self._turn += 1
            self._give_back(buffer)
            return
        with memoryview(bytearray(min(BLOCK, length))) as scratch:
            start, end = chunk_range(self._turn, self.entry.size)
            for position in range(start, end, len(scratch)):
                if self._halted():  # reading much of a large file back takes a while
                    raise Stopped
                with scratch[: min(len(scratch), end - position)] as view:
                    self.ingest.read_into(position, view)
                    self.verifier.feed(view)
        with self._lock:
            self._turn += 1

    def commit(self) -> None:
        """Check the whole, then make it a blob and let go of everything.

        Raises:
            SourceCorrupt: the bytes aren't what the source said; the ingest is thrown away.
            StoreFull, StoreUnusable: it can't be made durable.

        """
        try:
            self.verifier.finish()
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
            early = list(self._early.values())
            self._early.clear()
        for buffer in early:
            self._give_back(buffer)
        if not self._settled:
            with suppress(NodeError):  # what can't be made durable now is fetched again, and costs nothing else
                self.ingest.checkpoint()
        self._settled = True
        self._resources.close()


def blocks_of(run: range, size: int, buffer: memoryview) -> list[memoryview]:
    """Cut a run of chunks into blocks that lie in a buffer: all in its beginning, or side by side if a chunk fits.

    Args:
        run: indices of neighbouring chunks.
        size: bytes of the file.
        buffer: one block, or at least as long as the (one) chunk.

    Returns:
        One view per block, in order; no block crosses from one chunk to the next.

    """
    views = []
    for index in run:
        length = chunk_length(index, size)
        apart = len(buffer) >= length
        step = min(BLOCK, len(buffer))
        for start, end in itertools.pairwise([*range(0, length, step), length]):
            views.append(buffer[start:end] if apart else buffer[: end - start])
    return views
