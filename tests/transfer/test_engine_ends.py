"""How a transfer ends: errors, stops, and that all memory comes back."""

import contextlib
import threading

import pytest

from csi_model.core.checksum import Algorithm
from csi_model.errors import SourceChanged, SourceCorrupt, SourceDenied
from csi_model.transfer.fetching import Stopped
from tests.transfer.bringing import (
    LARGE,
    MODEL,
    ONE_STREAM,
    PATIENCE,
    SMALL_CHUNK,
    TWO_STREAMS,
    begin,
    bring,
    content,
    engine_on,
    here,
    manifest_of,
    nothing_in_use,
    quick,
    source_of,
)

pytestmark = pytest.mark.usefixtures("small_chunks")
C = SMALL_CHUNK


# errors, stops, buffers


def test_an_error_in_one_file_ends_reads_that_wait_in_others(store):
    source = source_of({"a": content(2 * C), "b": content(2 * C, seed=1)})
    manifest = manifest_of(source)
    stall = source.stall_next()
    source.fail_next(SourceDenied("the key was revoked"))
    with pytest.raises(SourceDenied, match="revoked"):
        bring(engine_on(store, TWO_STREAMS), manifest, source)
    assert stall.reached.is_set()


def test_a_stop_ends_reads_that_wait(store):
    source = source_of(LARGE)
    stop, stall = threading.Event(), source.stall_next()
    answer = begin(bring_until, engine_on(store), source, stop)
    stall.reached.wait()
    stop.set()
    with pytest.raises(Stopped):
        answer.result(30)


def bring_until(engine, source, stop):
    bring(engine, manifest_of(source), source, stop=stop)


def test_files_fetched_before_an_error_are_kept(store):
    files = {f"small-{n}": content(100 - n) for n in range(5)}
    source = source_of(files)
    manifest = manifest_of(source)
    engine = engine_on(store, ONE_STREAM)
    source.serve_next(3)
    source.fail_next(SourceDenied("revoked"))
    with pytest.raises(SourceDenied):
        bring(engine, manifest, source)
    assert sorted(here(store, manifest)) == ["small-0", "small-1", "small-2"]


@pytest.mark.parametrize("harm", ["none", "denied", "corrupt", "changed"])
@pytest.mark.parametrize("checksum", [None, Algorithm.SHA256])
def test_all_buffers_come_back_whatever_happens(store, harm, checksum):
    source = source_of({**MODEL, **LARGE}, checksum=checksum)
    manifest = manifest_of(source)
    engine = engine_on(store)
    if harm == "denied":
        source.serve_next(4)
        source.fail_next(SourceDenied("revoked"))
    elif harm == "corrupt":
        source.corrupt_next()
    elif harm == "changed":
        del source.files["qwen/weights"]
    with contextlib.suppress(SourceDenied, SourceCorrupt, SourceChanged):
        bring(engine, manifest, source)
    assert nothing_in_use(engine)


@pytest.mark.parametrize("checksum", [None, Algorithm.SHA256])
def test_memory_is_bounded_by_the_settings(store, checksum):
    source = source_of({**LARGE, "more": content(5 * C, seed=4), "small": content(C - 1)}, checksum=checksum)
    engine, seen = engine_on(store, quick(4, buffer_bytes=2 * C)), []
    real = engine.streams.buffers.try_take
    engine.streams.buffers.try_take = lambda size: (real(size), seen.append(engine.streams.buffers.in_use()))[0]
    bring(engine, manifest_of(source), source)
    assert C <= max(seen) <= 2 * C


def test_a_hash_that_needs_order_gets_by_with_fewer_buffers_than_chunks(store):
    source = source_of(LARGE)  # seven chunks
    manifest = manifest_of(source)
    stall = source.stall_next()
    engine = engine_on(store, TWO_STREAMS)  # two buffers: one waits at the source, the other for its turn
    exhausted = no_buffer_left(engine)
    answer = begin(bring, engine, manifest, source)
    assert exhausted.wait(PATIENCE)
    stall.released.set()
    answer.result(30)
    assert here(store, manifest) == LARGE


def test_a_chunk_that_fails_while_others_wait_for_their_turn_ends_with_its_error(store):
    source = source_of(LARGE)
    manifest = manifest_of(source)
    stall = source.stall_next()
    engine = engine_on(store, TWO_STREAMS)
    exhausted = no_buffer_left(engine)
    answer = begin(bring, engine, manifest, source)
    assert exhausted.wait(PATIENCE)
    del source.files["qwen/weights"]
    stall.released.set()
    with pytest.raises(SourceChanged):
        answer.result(30)
    assert nothing_in_use(engine)


def no_buffer_left(engine):
    """Return an event that is set when a buffer is wanted and there is none."""
    asked, real = threading.Event(), engine.streams.buffers.try_take

    def try_take(size):
        buffer = real(size)
        if buffer is None:
            asked.set()
        return buffer

    engine.streams.buffers.try_take = try_take
    return asked


def test_large_entries_let_go_of_their_files_once_they_are_committed(store, monkeypatch):
    source = source_of({f"shard-{n}": content(2 * C, seed=n) for n in range(20)})
    open_now, most = set(), []

    class Watching:
        def __init__(self, real):
            self._real = real

        def __enter__(self):
            open_now.add(id(self))
            most.append(len(open_now))
            return self._real.__enter__()

        def __exit__(self, *error):
            open_now.discard(id(self))
            return self._real.__exit__(*error)

    real = store.ingest
    monkeypatch.setattr(store, "ingest", lambda origin, entry: Watching(real(origin, entry)))
    bring(engine_on(store, TWO_STREAMS), manifest_of(source), source)
    assert max(most) <= 3
    assert not open_now
