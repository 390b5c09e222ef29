"""Several transfers at once: they share buffers, streams and the rate, and never fetch a large file twice."""

import random
import threading
from collections import Counter
from contextlib import contextmanager

import pytest

from csi_model.core.manifest import Manifest
from csi_model.errors import SourceDenied
from csi_model.transfer.fetching import Stopped
from csi_model.transfer.meter import Meter
from tests.transfer.bringing import (
    ONE_STREAM,
    PATIENCE,
    SMALL_CHUNK,
    begin,
    bring,
    chunk_reads,
    content,
    engine_on,
    here,
    manifest_of,
    nothing_in_use,
    source_of,
)

pytestmark = pytest.mark.usefixtures("small_chunks")
C = SMALL_CHUNK
SHARED = content(4 * C + 3)


def two_revisions():
    """Two sources of one Origin whose models share a file."""
    one = source_of({"shared": SHARED, "one": b"1"})
    two = source_of({"shared": SHARED, "two": b"2"})
    return one, two


def test_two_transfers_fetch_a_large_file_that_both_want_once(store):
    one, two = two_revisions()
    engine, stall = engine_on(store), one.stall_next()
    first = begin(bring, engine, manifest_of(one), one)
    stall.reached.wait()
    second = begin(bring, engine, manifest_of(two), two)
    stall.released.set()
    first.result(PATIENCE)
    second.result(PATIENCE)
    assert sorted(chunk_reads(one, "shared") + chunk_reads(two, "shared")) == [0, 1, 2, 3, 4]
    assert here(store, manifest_of(two)) == {"shared": SHARED, "two": b"2"}


def test_whoever_waits_for_another_says_so_and_counts_its_bytes_as_shared(store, monkeypatch):
    one, two = two_revisions()
    engine, stall = engine_on(store), one.stall_next()
    first = begin(bring, engine, manifest_of(one), one)
    stall.reached.wait()
    meter = Meter(manifest_of(two).size, 2)
    notes, real = [], store.wait_for_writers

    def wait_for_writers(timeout):
        notes.append(meter.progress().note)
        stall.released.set()
        real(timeout)

    monkeypatch.setattr(store, "wait_for_writers", wait_for_writers)
    begin(engine.bring, manifest_of(two), two, meter, threading.Event()).result(PATIENCE)
    first.result(PATIENCE)
    assert "another volume" in notes[0]
    assert (meter.progress().note, meter.progress().fetched, meter.progress().shared) == ("", 1, len(SHARED))


def test_what_another_brought_since_the_plan_was_made_is_not_fetched(store, monkeypatch):
    """The second transfer plans, then is busy with opening its largest file; meanwhile the first brings the rest."""
    one = source_of({"shared": SHARED, "config": b"{}"})
    two = source_of({"larger": content(6 * C), "shared": SHARED, "config": b"{}"})
    reached, released, real = threading.Event(), threading.Event(), store.ingest

    def ingest(origin, entry):
        if entry.path == "larger":
            reached.set()
            released.wait(PATIENCE)
        return real(origin, entry)

    monkeypatch.setattr(store, "ingest", ingest)
    engine = engine_on(store)
    second = begin(bring, engine, manifest_of(two), two)
    reached.wait(PATIENCE)
    bring(engine, manifest_of(one), one)
    released.set()
    second.result(PATIENCE)
    assert {path for path, _, _ in two.reads} == {"larger"}
    assert here(store, manifest_of(two)) == {"larger": content(6 * C), "shared": SHARED, "config": b"{}"}


def test_when_the_one_who_brings_a_file_fails_the_other_goes_on_with_it(store):
    one, two = two_revisions()
    engine, stall = engine_on(store, ONE_STREAM), one.stall_next()
    one.fail_next(SourceDenied("revoked"))
    first = begin(bring, engine, manifest_of(one), one)
    stall.reached.wait()
    second = begin(bring, engine, manifest_of(two), two)
    stall.released.set()
    with pytest.raises(SourceDenied):
        first.result(PATIENCE)
    second.result(PATIENCE)
    assert here(store, manifest_of(two)) == {"shared": SHARED, "two": b"2"}
    assert chunk_reads(two, "shared") == [1, 2, 3, 4]  # chunk 0 was written before the error


def test_the_same_bytes_under_two_paths_of_one_model_are_fetched_once(store):
    source = source_of({"a": SHARED})
    (entry,) = manifest_of(source).entries
    twins = Manifest.of(source.origin, [entry, type(entry)("b", entry.size, entry.key, entry.pin, entry.checksum)])
    bring(engine_on(store), twins, source)
    assert (here(store, twins), len(source.reads)) == ({"a": SHARED, "b": SHARED}, 5)


@pytest.mark.parametrize("seed", range(3))
def test_many_transfers_at_once_bring_every_byte_and_each_large_chunk_once(store, seed):
    chosen = random.Random(seed)
    pool = {f"file-{n}": content(chosen.choice([1, 4096, C, 2 * C + 1, 5 * C]), seed=n) for n in range(24)}
    engine, start = engine_on(store), threading.Barrier(6)
    sources = [source_of(dict(chosen.sample(sorted(pool.items()), 12))) for _ in range(6)]

    def run(source):
        start.wait(PATIENCE)
        bring(engine, manifest_of(source), source)

    for answer in [begin(run, source) for source in sources]:
        answer.result(PATIENCE)
    for source in sources:
        wanted = {key.removeprefix("qwen/"): data for key, data in source.files.items()}
        assert here(store, manifest_of(source)) == wanted
    reads = Counter((path, start) for source in sources for path, start, _ in source.reads if len(pool[path]) > C)
    assert set(reads.values()) <= {1}
    assert nothing_in_use(engine)


@pytest.mark.parametrize("seed", range(3))
def test_many_transfers_at_once_survive_errors_of_some(store, seed):
    chosen = random.Random(seed)
    pool = {f"file-{n}": content(chosen.choice([4096, C, 2 * C + 1, 5 * C]), seed=n) for n in range(16)}
    engine, start = engine_on(store), threading.Barrier(6)
    sources = [source_of(dict(chosen.sample(sorted(pool.items()), 10))) for _ in range(6)]
    for source in sources[:3]:
        source.serve_next(chosen.randrange(5))
        source.fail_next(SourceDenied("revoked"), times=3)

    def run(source):
        start.wait(PATIENCE)
        try:
            bring(engine, manifest_of(source), source)
        except SourceDenied:
            return False
        return True

    ended = [answer.result(PATIENCE) for answer in [begin(run, source) for source in sources]]
    assert all(ended[3:])
    for source, whole in zip(sources, ended, strict=True):
        wanted = {key.removeprefix("qwen/"): data for key, data in source.files.items()}
        assert here(store, manifest_of(source)).items() <= wanted.items()
        assert not whole or here(store, manifest_of(source)) == wanted
    assert nothing_in_use(engine)


# who goes first, and how fast


class Noted(list):
    """Reads of a source, in one order with those of another."""

    def __init__(self, name, order, begun):
        super().__init__()
        self._name, self._order, self._begun = name, order, begun

    def append(self, read):
        super().append(read)
        self._order.append(self._name)
        self._begun.release()


class Race:
    """Two transfers over four streams, all of which wait in a read of the first one."""

    def __init__(self, engine, *, urgent):
        self.order, self._begun = [], threading.Semaphore(0)
        first, second = (source_of({name: content(12 * C)}, checksum=None, origin=name) for name in ("1st", "2nd"))
        for source in (first, second):
            source.reads = Noted(source.origin, self.order, self._begun)
        self._stalls = [first.stall_next() for _ in range(12)]
        self._later = [second.stall_next() for _ in range(12)]
        self._released = 0
        self._answers = [begin(bring, engine, manifest_of(first), first)]
        self._await_reads(4)
        entered, real = threading.Event(), engine.streams.serving

        @contextmanager
        def serving(lane):
            with real(lane):
                entered.set()
                yield

        engine.streams.serving = serving
        self._answers.append(begin(lambda: bring(engine, manifest_of(second), second, urgent=urgent)))
        assert entered.wait(PATIENCE)

    def _await_reads(self, count):
        assert all(self._begun.acquire(timeout=PATIENCE) for _ in range(count))

    def next_reads(self, count):
        """Let waiting streams go on, one after the other; returns whom they read for then."""
        for _ in range(count):
            self._stalls[self._released].released.set()
            self._released += 1
            self._await_reads(1)
        return self.order[-count:]

    def finish(self):
        for stall in self._stalls + self._later:
            stall.released.set()
        for answer in self._answers:
            answer.result(PATIENCE)


def test_what_a_pod_waits_for_gets_all_streams_but_one_and_both_arrive(store):
    engine = engine_on(store)
    race = Race(engine, urgent=lambda: True)
    assert race.next_reads(4) == ["2nd", "2nd", "2nd", "1st"]
    race.finish()
    assert (len(race.order), nothing_in_use(engine)) == (24, True)


def test_two_that_nobody_waits_for_share_the_streams(store):
    race = Race(engine_on(store), urgent=lambda: False)
    assert race.next_reads(3) == ["2nd", "2nd", "1st"]
    race.finish()


def test_a_warm_up_that_becomes_urgent_overtakes_from_then_on(store):
    waited_for = threading.Event()
    race = Race(engine_on(store), urgent=waited_for.is_set)
    assert race.next_reads(2) == ["2nd", "2nd"]
    waited_for.set()
    assert race.next_reads(2) == ["2nd", "1st"]
    race.finish()


class Recorder:
    """A pace that notes what it is asked for, and always gives the same answer."""

    def __init__(self, seconds):
        self.sizes = []
        self._seconds = seconds
        self.asked = threading.Event()

    def delay(self, size):
        self.sizes.append(size)
        self.asked.set()
        return self._seconds


def test_the_pace_is_asked_about_every_byte(store):
    source = source_of({"weights": SHARED, "small": content(C), "tiny": b"1"})
    engine = engine_on(store)
    engine.streams.pace = Recorder(0.0)
    bring(engine, manifest_of(source), source)
    assert sum(engine.streams.pace.sizes) == len(SHARED) + C + 1
    assert max(engine.streams.pace.sizes) <= C


def test_a_stop_ends_the_waits_that_the_pace_asks_for(store):
    source, stop = source_of({"weights": SHARED}), threading.Event()
    engine = engine_on(store)
    engine.streams.pace = Recorder(3600.0)
    answer = begin(lambda: bring(engine, manifest_of(source), source, stop=stop))
    engine.streams.pace.asked.wait(PATIENCE)
    stop.set()
    with pytest.raises(Stopped):
        answer.result(PATIENCE)
    assert nothing_in_use(engine)
