"""Transfer: one pass over one Plan.

How a byte travels: a worker takes a free buffer, then the next span in order (big files first, small files last),
fetches it into the buffer, hashes it while it is in the processor's cache, and writes it. The worker that lands a
file's last chunk commits it. Workers of all warm-ups share one pool of buffers, which bounds memory and streams.
"""

import mmap
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from csi_model.core.manifest import Entry
from csi_model.core.treehash import chunk_count, chunk_digest, chunk_range
from csi_model.errors import CsiModelError, NodeError
from csi_model.settings import TransferSettings
from csi_model.sources.base import Reader, Source
from csi_model.store.base import Reservation, SmallFiles, StagingStore
from csi_model.transfer.arrival import Arrival
from csi_model.transfer.buffers import Buffers
from csi_model.transfer.fetching import Stopped, fetch
from csi_model.transfer.meter import Meter
from csi_model.transfer.plan import Plan
from csi_model.transfer.verifying import verifier_for

_WATCH = 0.1  # seconds between two looks at whether the transfer should stop


@dataclass(frozen=True, slots=True)
class _Span:
    arrival: Arrival
    index: int


class Transfer:
    """One pass over one Plan.

    Args:
        plan: what is missing.
        source: where it is; closed early if the transfer is to end early.
        store: where it goes.
        settings: how many streams, how patiently.
        buffers: shared with other transfers.
        meter: told what lands.
        stop: set it to stop soon; what was written stays.

    """

    def __init__(
        self,
        plan: Plan,
        source: Source,
        *,
        store: StagingStore,
        settings: TransferSettings,
        buffers: Buffers,
        meter: Meter,
        stop: threading.Event,
    ) -> None:
        self._store = store
        self._settings = settings
        self._buffers = buffers
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
        missing = self._plan.missing
        allocated = sum(self._store.allocated(self._origin, entry) for entry in missing if _is_large(entry))
        needed = sum(entry.size for entry in missing) - allocated
        spans = sum(chunk_count(entry.size) for entry in missing)
        with self._store.reserve(max(0, needed)) as self._reservation, self._open:
            self._run_workers(min(self._settings.streams, spans))
        if self._error is not None:
            raise self._error
        if self._outer_stop.is_set():
            raise Stopped
        return self._left_to_others == 0

    def _run_workers(self, count: int) -> None:
        workers: list[threading.Thread] = []
        try:
            for number in range(count):
                worker = threading.Thread(target=self._work, name=f"span-{number}", daemon=True)
                worker.start()
                workers.append(worker)
        except BaseException:
            self._halt.set()
            raise
        finally:
            for worker in workers:
                while worker.is_alive():
                    worker.join(_WATCH)
                    if self._outer_stop.is_set() or self._halt.is_set():
                        self._halt.set()
                        self._source.close()  # so that nobody waits for a server's answer any more

    def _make_jobs(self) -> Iterator[_Span | Entry | Arrival]:
        """Yield spans, small entries, and arrivals that are whole already; advanced under the lock."""
        for entry in self._plan.missing:
            if not _is_large(entry):
                yield entry
                continue
            arrival = self._arrive(entry)
            if arrival is None:
                continue
            chunks = arrival.chunks()
            if not chunks:
                yield arrival
            for index in chunks:
                yield _Span(arrival, index)

    def _arrive(self, entry: Entry) -> Arrival | None:
        """Open an entry for fetching; None if another transfer is bringing it, or has brought it meanwhile."""
        self._promised().recheck()
        before = self._store.allocated(self._origin, entry)
        with ExitStack() as resources:
            ingest = resources.enter_context(self._store.ingest(self._origin, entry))
            if ingest is None:
                self._left_to_others += 1
                return None
            if self._is_here(entry):
                ingest.discard()
                return None
            if ingest.reserved:
                self._promised().used(entry.size - before)
            arrival = Arrival(
                entry, ingest=ingest, resources=resources, source=self._source, buffers=self._buffers,
                halted=self._halt.is_set,
            )  # fmt: skip
        self._open.callback(arrival.close)
        self._meter.resumed(arrival.resumed_bytes)
        return arrival

    def _is_here(self, entry: Entry) -> bool:
        """Look again: another transfer may have brought an entry since the plan was made."""
        return self._store.find(self._origin, entry) is not None

    def _promised(self) -> Reservation:
        if self._reservation is None:
            raise RuntimeError("no span is taken before run() has reserved its room")
        return self._reservation

    def _work(self) -> None:
        smalls = self._store.small_files(self._origin)
        try:
            try:
                while not self._halt.is_set():
                    buffer = self._buffers.take(self._halt.is_set)  # before the place in the order: see Buffers
                    job = self._next(buffer) if buffer is not None else None
                    if buffer is None or job is None:
                        break
                    self._do(job, buffer, smalls)
            finally:
                smalls.commit()  # also after an error: what was fetched stays
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the caller of run()
            self._fail(error)
        finally:
            with suppress(OSError, NodeError):
                smalls.abandon()

    def _fail(self, error: BaseException) -> None:
        """Remember the first error, but a typed one rather than what it led to in another thread."""
        with self._lock:
            if not isinstance(self._error, CsiModelError if isinstance(error, CsiModelError) else BaseException):
                self._error = error
        self._halt.set()

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
                self._do_span(arrival, index, buffer)
            case Arrival():
                job.commit()
            case Entry():
                self._do_small(job, buffer, smalls)

    def _do_span(self, arrival: Arrival, index: int, buffer: mmap.mmap) -> None:
        start, end = chunk_range(index, arrival.entry.size)
        try:
            with memoryview(buffer) as whole, whole[: end - start] as view:
                self._fetch(arrival.reader, start, view)
        except BaseException:
            self._buffers.give_back(buffer)
            raise
        if not arrival.ingest.reserved:
            self._promised().used(end - start)
        is_last = arrival.land(index, buffer)
        self._meter.landed(end - start)
        if is_last:
            arrival.commit()
        elif arrival.ingest.pending_bytes >= self._settings.checkpoint_bytes:
            arrival.ingest.checkpoint()

    def _do_small(self, entry: Entry, buffer: mmap.mmap, smalls: SmallFiles) -> None:
        try:
            if self._is_here(entry):
                return
            with (
                self._source.open(entry) as reader,
                memoryview(buffer) as whole,
                whole[: entry.size] as view,
            ):
                self._fetch(reader, 0, view)
                verifier = verifier_for(entry)
                verifier.take(0, view)
                verifier.finish()
                smalls.write(entry, view, digest=chunk_digest(view))
        finally:
            self._buffers.give_back(buffer)
        self._promised().used(entry.size)
        self._meter.landed(entry.size)
        if len(smalls) >= self._settings.small_file_batch or smalls.pending_bytes >= self._settings.checkpoint_bytes:
            smalls.commit()

    def _fetch(self, reader: Reader, start: int, view: memoryview) -> None:
        fetch(reader, start, view, settings=self._settings, stop=self._halt, retried=self._meter.retried)


def _is_large(entry: Entry) -> bool:
    """Tell whether an entry has more than one chunk, and so an ingest of its own."""
    return chunk_count(entry.size) > 1
