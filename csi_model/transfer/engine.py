"""Engine: brings the missing bytes of a Revision from a Source into the Store.

How a byte travels: a worker takes a free buffer, then the next span in order (big files first, small files last),
fetches it into the buffer, hashes it while it is in the processor's cache, and writes it. The worker that lands a
file's last chunk commits it. Workers of all warm-ups share one pool of buffers, which bounds memory and streams.
"""

import logging
import mmap
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from csi_model.core.manifest import Entry, Manifest
from csi_model.core.treehash import CHUNK, chunk_count, chunk_digest, chunk_range
from csi_model.errors import NodeError
from csi_model.settings import TransferSettings
from csi_model.sources.base import Source
from csi_model.store.smalls import SmallFiles
from csi_model.store.space import Reservation
from csi_model.store.store import Store
from csi_model.transfer.arrival import Arrival
from csi_model.transfer.buffers import Buffers
from csi_model.transfer.fetching import Stopped, fetch
from csi_model.transfer.meter import Meter
from csi_model.transfer.plan import Plan
from csi_model.transfer.verifying import verifier_for

log = logging.getLogger(__name__)
_WAIT_FOR_WRITERS = 0.5  # seconds between two looks at what another warm-up is bringing


class Engine:
    """Transfers of one node, sharing streams and memory.

    Args:
        store: where bytes go.
        settings: how many, how patiently.

    """

    def __init__(self, store: Store, settings: TransferSettings) -> None:
        self.store = store
        self.settings = settings
        self.buffers = Buffers(settings.streams + settings.spare_buffers)

    def bring(self, manifest: Manifest, source: Source, meter: Meter, stop: threading.Event) -> None:
        """Fetch, check and commit every entry that isn't here.

        Entries that another warm-up is writing just now are left to it, and looked for again afterwards.

        Args:
            manifest: the Revision; the caller keeps it ``wanted`` in the store.
            source: where its Origin is.
            meter: told what lands.
            stop: set it to stop soon; what is durable stays.

        Raises:
            Stopped: ``stop`` was set.
            SourceError: the source failed for good.
            StoreFull, StoreUnusable: the disk did.

        """
        while True:
            plan = Plan.of(manifest, lambda entry: self.store.find(manifest.origin, entry) is not None)
            meter.found(plan.present)
            if not plan.missing:
                return
            if not Transfer(self, plan, source, meter, stop).run():
                meter.note = "another volume is bringing the same files"
                self.store.wait_for_writers(_WAIT_FOR_WRITERS)
                meter.note = ""
            self.buffers.trim()


@dataclass(frozen=True, slots=True)
class _Span:
    arrival: Arrival
    index: int


class Transfer:
    """One pass over one Plan."""

    def __init__(self, engine: Engine, plan: Plan, source: Source, meter: Meter, stop: threading.Event) -> None:
        self._store = engine.store
        self._settings = engine.settings
        self._buffers = engine.buffers
        self._origin = plan.manifest.origin
        self._plan = plan
        self._source = source
        self._meter = meter
        self._outer_stop = stop
        self._halt = threading.Event()  # an error, or somebody asked
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._jobs = self._make_jobs()
        self._error: BaseException | None = None
        self._left_to_others = 0
        self._reservation: Reservation | None = None

    def run(self) -> bool:
        """Work until the plan is done.

        Returns:
            Whether everything was brought; False if some entries were left to other writers.

        Raises:
            Stopped, SourceError, StoreFull, StoreUnusable: as :meth:`Engine.bring`.

        """
        allocated = sum(self._store.allocated(self._origin, e) for e in self._plan.missing if e.size > CHUNK)
        needed = sum(entry.size for entry in self._plan.missing) - allocated
        with self._store.space.reserve(max(0, needed)) as self._reservation, self._open:
            spans = sum(chunk_count(entry.size) for entry in self._plan.missing)
            names = [f"span-{n}" for n in range(min(self._settings.streams, spans))]
            workers = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]
            for worker in workers:
                worker.start()
            for worker in workers:
                while worker.is_alive():
                    worker.join(0.1)
                    if self._outer_stop.is_set():
                        self._halt.set()
        if self._error is not None:
            raise self._error
        if self._outer_stop.is_set():
            raise Stopped
        return self._left_to_others == 0

    def _make_jobs(self) -> Iterator[_Span | Entry | Arrival]:
        """Yield spans, small entries, and arrivals that are whole already; advanced under the lock."""
        for entry in self._plan.missing:
            if entry.size <= CHUNK:
                yield entry
                continue
            arrival = self._arrive(entry)
            if arrival is None:
                self._left_to_others += 1
                continue
            chunks = arrival.chunks()
            if not chunks:
                yield arrival
            for index in chunks:
                yield _Span(arrival, index)

    def _arrive(self, entry: Entry) -> Arrival | None:
        reservation = self._promised()
        reservation.recheck()
        before = self._store.allocated(self._origin, entry)
        ingest = self._open.enter_context(self._store.ingest(self._origin, entry))
        if ingest is None:
            return None
        if ingest.reserved:
            reservation.used(entry.size - before)
        arrival = Arrival(
            entry, origin=self._origin, store=self._store, ingest=ingest, source=self._source,
            buffers=self._buffers, meter=self._meter,
        )  # fmt: skip
        self._open.callback(arrival.close)
        return arrival

    def _promised(self) -> Reservation:
        if self._reservation is None:
            raise RuntimeError("no span is taken before run() has reserved its room")
        return self._reservation

    def _work(self) -> None:
        smalls = self._store.small_files(self._origin)
        try:
            while not self._halt.is_set():
                buffer = self._buffers.take(self._halt.is_set)  # before the place in the order: see Buffers
                job = self._next(buffer) if buffer is not None else None
                if buffer is None or job is None:
                    break
                self._do(job, buffer, smalls)
            smalls.commit()
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the caller of run()
            with self._lock:
                self._error = self._error or error
            self._halt.set()
        finally:
            with suppress(OSError, NodeError):
                smalls.abandon()

    def _next(self, buffer: mmap.mmap) -> _Span | Entry | Arrival | None:
        job = None
        try:
            with self._lock:
                job = next(self._jobs, None)
        finally:
            if not isinstance(job, (_Span, Entry)):
                self._buffers.give_back(buffer)
        return job

    def _do(self, job: _Span | Entry | Arrival, buffer: mmap.mmap, smalls: SmallFiles) -> None:
        match job:
            case _Span(arrival, index):
                start, end = chunk_range(index, arrival.entry.size)
                self._fill(arrival, start, end - start, buffer)
                if not arrival.ingest.reserved:
                    self._promised().used(end - start)
                if arrival.land(index, buffer):
                    arrival.commit()
                elif arrival.ingest.pending_bytes >= self._settings.checkpoint_bytes:
                    arrival.ingest.checkpoint()
            case Arrival():
                job.commit()
            case Entry():
                self._do_small(job, buffer, smalls)

    def _fill(self, arrival: Arrival, start: int, length: int, buffer: mmap.mmap) -> None:
        try:
            with memoryview(buffer) as whole, whole[:length] as view:
                fetch(
                    arrival.reader, start, view,
                    settings=self._settings, stop=self._halt, retried=self._meter.retried,
                )  # fmt: skip
        except BaseException:
            self._buffers.give_back(buffer)
            raise

    def _do_small(self, entry: Entry, buffer: mmap.mmap, smalls: SmallFiles) -> None:
        try:
            with (
                self._source.open(entry) as reader,
                memoryview(buffer) as whole,
                whole[: entry.size] as view,
            ):
                fetch(reader, 0, view, settings=self._settings, stop=self._halt, retried=self._meter.retried)
                verifier = verifier_for(entry)
                verifier.take(0, view)
                verifier.finish()
                smalls.write(entry, view, digest=chunk_digest(view))
        finally:
            self._buffers.give_back(buffer)
        self._promised().used(entry.size)
        self._meter.landed(entry.size)
        if len(smalls) >= self._settings.small_file_batch:
            smalls.commit()
