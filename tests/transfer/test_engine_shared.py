"""Several transfers at once: they share buffers and streams, and never fetch the same large file twice."""

import random
import threading
from collections import Counter

import pytest

from csi_model.core.manifest import Manifest
from csi_model.errors import SourceDenied
from csi_model.settings import TransferSettings
from csi_model.transfer.meter import Meter
from tests.transfer.bringing import (
    PATIENCE,
    QUICK,
    SMALL_CHUNK,
    begin,
    bring,
    buffers_back,
    chunk_reads,
    content,
    engine_on,
    here,
    manifest_of,
    source_of,
)

pytestmark = pytest.mark.usefixtures("small_chunks")
C = SMALL_CHUNK
SHARED = content(4 * C + 3)
ONE_STREAM = TransferSettings(streams=1, spare_buffers=3, backoff_initial=0.0, backoff_max=0.0)


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


def test_what_another_brought_since_the_plan_was_made_is_not_fetched(store):
    """The second transfer plans, then is busy with its largest file; meanwhile the first brings the rest."""
    one = source_of({"shared": SHARED, "config": b"{}"})
    two = source_of({"larger": content(6 * C), "shared": SHARED, "config": b"{}"})
    engine, stall = engine_on(store, ONE_STREAM), two.stall_next()
    second = begin(bring, engine, manifest_of(two), two)
    stall.reached.wait()
    bring(engine, manifest_of(one), one)
    stall.released.set()
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
    assert buffers_back(engine) == QUICK.streams + QUICK.spare_buffers


@pytest.mark.parametrize("seed", range(3))
def test_many_transfers_at_once_survive_errors_of_some(store, seed):
    chosen = random.Random(seed)
    pool = {f"file-{n}": content(chosen.choice([4096, C, 2 * C + 1, 5 * C]), seed=n) for n in range(16)}
    engine, start = engine_on(store), threading.Barrier(6)
    sources = [source_of(dict(chosen.sample(sorted(pool.items()), 10))) for _ in range(6)]
    for source in sources[:3]:
        source._next.extend([("serve", None)] * chosen.randrange(5))
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
    assert buffers_back(engine) == QUICK.streams + QUICK.spare_buffers
