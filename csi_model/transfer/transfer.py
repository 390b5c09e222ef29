"""Transfer: one pass over one Plan, and a lane of the node's streams: what is to be done next, and when it is over.

Large files come first, one opened behind the other, each in runs of chunks that get shorter towards the end, so that
all streams finish together; then the small ones in batches. :mod:`csi_model.transfer.bringing` does the work.
"""

import mmap
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

from csi_model.core import treehash
from csi_model.core.manifest import Entry
from csi_model.core.treehash import chunk_count
from csi_model.errors import CsiModelError
from csi_model.settings import TransferSettings
from csi_model.sources.base import Source
from csi_model.store.base import StagingStore
from csi_model.transfer.arrival import Arrival
from csi_model.transfer.bringing import Bringing
from csi_model.transfer.buffers import BLOCK
from csi_model.transfer.fetching import Stopped
from csi_model.transfer.keeping import Account
from csi_model.transfer.meter import Meter
from csi_model.transfer.plan import Plan
from csi_model.transfer.streams import Job, Streams

_WATCH = 0.1  # seconds between two looks at whether the transfer should stop


class Transfer:
    """One pass over one Plan.

    Args:
        plan: what is missing.
        source: where it is; closed early if the transfer is to end early.
        store: where it goes.
        settings: how patiently, in what portions.
        streams: the node's.
        meter: told what lands.
        urgent: whether somebody waits, asked again and again.
        account: decides what stays in the page cache.
        stop: set it to stop soon; what was written stays.

    """

    def __init__(
        self,
        plan: Plan,
        source: Source,
        *,
        store: StagingStore,
        settings: TransferSettings,
        streams: Streams,
        meter: Meter,
        urgent: Callable[[], bool],
        account: Account,
        stop: threading.Event,
    ) -> None:
        self._plan = plan
        self._source = source
        self._store = store
        self._settings = settings
        self._streams = streams
        self._urgent = urgent
        self._stop = stop
        self._halt = threading.Event()  # an error, or somebody asked
        self._bringing = Bringing(
            plan.manifest.origin, source, store=store, settings=settings, streams=streams, meter=meter,
            keep=lambda size: account.keep(size, urgent=urgent()), halt=self._halt,
        )  # fmt: skip
        self._changed = threading.Condition()
        self._entries = deque(entry for entry in plan.missing if is_large(entry))
        self._smalls = deque(entry for entry in plan.missing if not is_large(entry))
        self._arrivals: deque[Arrival] = deque()  # opened, with chunks that nobody has taken yet
        self._opening = False
        self._running = 0
        self._error: BaseException | None = None

    def run(self) -> bool:
        """Work until the plan is done.

        Returns:
            Whether everything was brought; False if some entries were left to other writers.

        Raises:
            Stopped, SourceError, StoreFull, StoreUnusable: as :meth:`Engine.bring`.

        """
        origin, missing = self._plan.manifest.origin, self._plan.missing
        needed = sum(entry.size for entry in missing)
        needed -= sum(self._store.allocated(origin, entry) for entry in self._entries)
        with self._store.reserve(max(0, needed)) as reservation, ExitStack() as arrivals:
            self._bringing.begin(reservation, arrivals)
            with self._streams.serving(self):
                self._watch()
        if self._error is not None:
            raise self._error
        if self._stop.is_set():
            raise Stopped
        return self._bringing.left_to_others == 0

    def _watch(self) -> None:
        try:
            while not self._is_over():
                with self._changed:
                    self._changed.wait_for(self._is_over, _WATCH)
                if self._stop.is_set():
                    self._halt.set()
                if self._halt.is_set():
                    self._source.close()  # so that nobody waits for a server's answer any more
                else:
                    self._bringing.cut_stragglers(time.monotonic())
        except BaseException:
            self._halt.set()
            self._source.close()
            raise

    def _is_over(self) -> bool:
        with self._changed:  # a job ends and leaves further ones in one step, and one is taken in one step
            return self._running == 0 and self.wants() is None

    @property
    def urgent(self) -> bool:
        return self._urgent()

    def wants(self) -> int | None:
        if self._halt.is_set():
            return None
        if self._arrivals:
            in_order = self._arrivals[0].verifier.in_order
            return treehash.CHUNK if in_order else _block()
        if self._entries:
            return None if self._opening else 0  # one at a time; the small files wait until all large ones are open
        return _small_buffer(self._smalls[0]) if self._smalls and not self._opening else None

    def take(self) -> Job:
        with self._changed:
            self._running += 1
            if self._arrivals:
                arrival, run = self._take_run()
                return lambda buffer: self._guard(lambda: self._bringing.run(arrival, run, _given(buffer)), buffer)
            if self._entries:
                self._opening = True
                entry = self._entries.popleft()
                return lambda _: self._guard(lambda: self._open(entry), None)
            batch = self._take_batch()
            return lambda buffer: self._guard(lambda: self._bringing.batch(batch, _given(buffer)), buffer)

    def _take_run(self) -> tuple[Arrival, range]:
        arrival = self._arrivals[0]
        share = arrival.left // (2 * self._streams.limit)
        most = 1 if arrival.verifier.in_order else max(1, min(self._settings.run_chunks, share))
        run = arrival.next_run(most)
        if not arrival.left:
            self._arrivals.popleft()
        return arrival, run

    def _take_batch(self) -> list[Entry]:
        """Take some of the small files, the largest first; fewer towards the end, so that all streams have some."""
        batch = [self._smalls.popleft()]
        most = min(self._settings.small_file_batch, len(self._smalls) // (2 * self._streams.limit))
        size = batch[0].size
        while len(batch) < most and size < self._settings.checkpoint_bytes:
            batch.append(self._smalls.popleft())
            size += batch[-1].size
        return batch

    def _open(self, entry: Entry) -> None:
        try:
            arrival = self._bringing.open(entry)
            if arrival is not None:
                self._arrivals.append(arrival)
        finally:
            self._opening = False  # after the append: whoever looks in between must see one of the two
            self._streams.wake()

    def _guard(self, job: Callable[[], None], buffer: mmap.mmap | None) -> None:
        """Run a job; its error, if it is the first one, becomes the transfer's."""
        try:
            if not self._halt.is_set():
                job()
            elif buffer is not None:
                self._streams.give_back(buffer)
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the caller of run()
            self._fail(error)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        """Remember the first error, but a typed one rather than what it led to in another thread."""
        with self._changed:
            if not isinstance(self._error, CsiModelError if isinstance(error, CsiModelError) else BaseException):
                self._error = error
        self._halt.set()


def is_large(entry: Entry) -> bool:
    """Tell whether an entry has more than one chunk, and so an ingest of its own."""
    return chunk_count(entry.size) > 1


def _small_buffer(entry: Entry) -> int:
    """Return the size of the buffer for a batch of files that are no larger than this one."""
    return _block() if entry.size <= _block() else treehash.CHUNK


def _block() -> int:
    return min(BLOCK, treehash.CHUNK)


def _given(buffer: mmap.mmap | None) -> mmap.mmap:
    if buffer is None:
        raise RuntimeError("the streams gave no buffer although one was wanted")
    return buffer
