"""Bringing: the jobs of one transfer.

How a byte travels: a stream asks for a run of chunks in one request, receives a block of it, and does with the block,
while it is in the processor's cache, all there is to do: the tree hash, the source's checksum, the write. Every 32 MiB
per file the bytes are made durable and noted in the ledger. Who lands a file's last chunk commits the file.
"""

import mmap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress

from csi_model.core import treehash
from csi_model.core.manifest import Entry
from csi_model.core.treehash import chunk_digest
from csi_model.errors import NodeError, SourceBusy, SourceError
from csi_model.settings import TransferSettings
from csi_model.sources.base import Reader, Source
from csi_model.store.base import Reservation, SmallFiles, StagingStore
from csi_model.transfer.arrival import Arrival, blocks_of
from csi_model.transfer.buffers import BLOCK
from csi_model.transfer.fetching import Stopped, fetch
from csi_model.transfer.meter import Meter
from csi_model.transfer.stragglers import Flight, Stragglers
from csi_model.transfer.streams import Streams
from csi_model.transfer.verifying import check


class Bringing:
    """What the streams do for one transfer. All methods but :meth:`begin` run in the streams' threads.

    Args:
        origin: of the Manifest.
        source: where the bytes are.
        store: where they go.
        settings: how patiently.
        streams: told what arrives; given buffers back.
        meter: told what lands.
        keep: asked before each run of so many bytes whether they shall stay in the page cache.
        halt: everything ends soon once it is set.

    Attributes:
        left_to_others: entries that other transfers are writing.

    """

    def __init__(
        self,
        origin: str,
        source: Source,
        *,
        store: StagingStore,
        settings: TransferSettings,
        streams: Streams,
        meter: Meter,
        keep: Callable[[int], bool],
        halt: threading.Event,
    ) -> None:
        self._origin = origin
        self._source = source
        self._store = store
        self._settings = settings
        self._streams = streams
        self._meter = meter
        self._keep = keep
        self._halt = halt
        self._lock = threading.Lock()
        self._flights: set[Flight] = set()
        self._stragglers = Stragglers()
        self._reservation: Reservation
        self._open: ExitStack
        self.left_to_others = 0

    def begin(self, reservation: Reservation, arrivals: ExitStack) -> None:
        """Say what room was promised, and who closes what is opened; before anything else."""
        self._reservation = reservation
        self._open = arrivals

    def open(self, entry: Entry) -> Arrival | None:
        """Open a large entry. None if another transfer is bringing it or has brought it meanwhile, or all was here."""
        arrival = self._arrive(entry)
        if arrival is None:
            return None
        self._meter.resumed(arrival.resumed_bytes)
        if not arrival.left and arrival.claim_if_whole():
            arrival.commit()
        return arrival if arrival.left else None

    def _arrive(self, entry: Entry) -> Arrival | None:
        self._reservation.recheck()
        before = self._store.allocated(self._origin, entry)
        with ExitStack() as resources:
            ingest = resources.enter_context(self._store.ingest(self._origin, entry))
            if ingest is None:
                self.left_to_others += 1
                return None
            if self._is_here(entry):
                ingest.discard()
                return None
            if ingest.reserved:
                self._reservation.used(entry.size - before)
            arrival = Arrival(
                entry, ingest=ingest, resources=resources, source=self._source,
                give_back=self._streams.give_back, halted=self._halt.is_set,
            )  # fmt: skip
        self._open.callback(arrival.close)
        return arrival

    def _is_here(self, entry: Entry) -> bool:
        """Look again: another transfer may have brought an entry since the plan was made."""
        return self._store.find(self._origin, entry) is not None

    def run(self, arrival: Arrival, run: range, buffer: mmap.mmap) -> None:
        """Bring some neighbouring chunks of a large file; the buffer goes back by itself.

        Raises:
            Stopped: ``halt`` was set.
            SourceError, StoreFull, StoreUnusable: what was landed before stays.

        """
        waits_for_its_turn = False
        try:
            with memoryview(buffer) as whole:
                views = blocks_of(run, arrival.entry.size, whole)
                cached = self._keep(sum(map(len, views)))
                landings = (arrival.landing(index, cached=cached) for index in run)
                landing = next(landings)
                with self._fetch(arrival.reader, run[0] * treehash.CHUNK, views) as blocks:
                    for block in blocks:  # to the very end: an answer that was left early costs its connection
                        if landing.take(block) and not arrival.verifier.in_order:
                            self._landed(arrival, landing.index, None)
                            landing = next(landings, landing)
                del views
            if arrival.verifier.in_order:
                waits_for_its_turn = True
                self._landed(arrival, run[0], buffer)
        finally:
            if not waits_for_its_turn:
                self._streams.give_back(buffer)

    def _landed(self, arrival: Arrival, index: int, buffer: mmap.mmap | None) -> None:
        if not arrival.ingest.reserved:
            self._reservation.used(treehash.chunk_length(index, arrival.entry.size))
        if arrival.landed(index, buffer):
            arrival.commit()
        elif arrival.ingest.pending_bytes >= self._settings.checkpoint_bytes:
            arrival.ingest.checkpoint()

    def batch(self, entries: Sequence[Entry], buffer: mmap.mmap) -> None:
        """Bring some small files, none larger than the buffer, which goes back by itself; raises as :meth:`run`."""
        smalls = self._store.small_files(self._origin)
        try:
            try:
                for entry in entries:
                    if not self._is_here(entry):
                        self._small(entry, buffer, smalls)
            finally:
                smalls.commit()  # also after an error: what was fetched stays
        finally:
            self._streams.give_back(buffer)
            with suppress(OSError, NodeError):
                smalls.abandon()

    def _small(self, entry: Entry, buffer: mmap.mmap, smalls: SmallFiles) -> None:
        with self._source.open(entry) as reader, memoryview(buffer) as whole, whole[: entry.size] as view:
            with self._fetch(reader, 0, [view]) as blocks:
                for _ in blocks:
                    pass
            check(entry, view)
            cached = entry.size < BLOCK or self._keep(entry.size)  # little is quickly forgotten by the kernel itself
            smalls.write(entry, view, digest=chunk_digest(view), cached=cached)
        self._reservation.used(entry.size)

    @contextmanager
    def _fetch(self, reader: Reader, start: int, views: Sequence[memoryview]) -> Iterator[Iterator[memoryview]]:
        """Fetch blocks under the eyes of the meter, the tuner, the pace and the watch for stragglers."""
        flight = Flight(time.monotonic(), max(map(len, views)))
        with self._lock:
            self._flights.add(flight)
        try:
            blocks = fetch(
                reader, start, views, settings=self._settings, halt=self._halt, abort=flight.abort,
                retried=self._retried,
            )  # fmt: skip
            with closing(blocks):
                yield (self._received(flight, block) for block in blocks)
        finally:
            with self._lock:
                self._flights.discard(flight)
            self._stragglers.finished(flight, time.monotonic())

    def _received(self, flight: Flight, block: memoryview) -> memoryview:
        flight.received(len(block))
        self._meter.landed(len(block))
        self._streams.received(len(block))
        delay = self._streams.pace.delay(len(block))
        if delay and self._halt.wait(delay):
            raise Stopped
        return block

    def _retried(self, error: SourceError) -> None:
        self._meter.retried(error)
        if isinstance(error, SourceBusy):
            self._streams.slow_down()

    def cut_stragglers(self, now: float) -> None:
        """Let streams that are far slower than the others go on over new connections; for one thread.

        Args:
            now: seconds, monotonic.

        """
        with self._lock:
            flights = list(self._flights)
        for flight in self._stragglers.find(flights, now):
            flight.abort()
