import contextlib
import subprocess
import threading

import pytest

from csi_model.core.checksum import Algorithm
from csi_model.core.manifest import Manifest
from csi_model.core.treehash import CHUNK
from csi_model.errors import SourceBusy, SourceChanged, SourceCorrupt, SourceDenied, SourceUnavailable
from csi_model.settings import StoreSettings
from csi_model.store import pages
from csi_model.store.store import Store
from csi_model.transfer.fetching import Stopped
from tests.transfer.bringing import (
    ONE_STREAM,
    PATIENCE,
    QUICK,
    SMALL_BLOCK,
    SMALL_CHUNK,
    begin,
    bring,
    chunk_reads,
    content,
    engine_on,
    here,
    manifest_of,
    nothing_in_use,
    quick,
    source_of,
    with_crc32,
    within,
)

pytestmark = pytest.mark.usefixtures("small_chunks")
C = SMALL_CHUNK
SIZES = [0, 1, 4095, 4096, C - 1, C, C + 1, 3 * C + 5]
MODEL = {f"file-{size}": content(size) for size in SIZES}
FILLED = {path: data for path, data in MODEL.items() if data}
LARGE = {"weights": content(6 * C + 1)}
TWO_STREAMS = quick(2, run_chunks=1, buffer_bytes=2 * C)


@pytest.mark.parametrize("checksum", [None, Algorithm.SHA256, Algorithm.SHA1, Algorithm.MD5])
def test_every_byte_arrives_whatever_the_size(store, checksum):
    source = source_of(MODEL, checksum=checksum)
    bring(engine_on(store), manifest_of(source), source)
    assert here(store, manifest_of(source)) == FILLED


def test_every_byte_arrives_with_piecewise_checksums(store):
    source = source_of(MODEL)
    manifest = with_crc32(manifest_of(source), MODEL)
    bring(engine_on(store), manifest, source)
    assert here(store, manifest) == FILLED


@pytest.mark.parametrize("settings", [ONE_STREAM, TWO_STREAMS, QUICK])
def test_every_byte_arrives_with_few_streams_and_with_many(store, settings):
    source = source_of(MODEL)
    bring(engine_on(store, settings), manifest_of(source), source)
    assert here(store, manifest_of(source)) == FILLED


def test_empty_files_are_not_requested(store):
    source = source_of(MODEL)
    bring(engine_on(store), manifest_of(source), source)
    assert "file-0" not in {path for path, _, _ in source.reads}


def test_each_byte_is_fetched_once(store):
    source = source_of(MODEL)
    bring(engine_on(store), manifest_of(source), source)
    assert sum(length for _, _, length in source.reads) == sum(SIZES)


def test_what_is_here_is_not_fetched_again(store):
    source = source_of(MODEL)
    bring(engine_on(store), manifest_of(source), source)
    source.reads.clear()
    bring(engine_on(store), manifest_of(source), source)
    assert source.reads == []


def test_only_the_difference_of_a_new_revision_is_fetched(store):
    source = source_of(MODEL)
    bring(engine_on(store), manifest_of(source), source)
    source.reads.clear()
    source.files["qwen/adapter"] = content(2 * C, seed=1)
    bring(engine_on(store), manifest_of(source), source)
    assert {path for path, _, _ in source.reads} == {"adapter"}


def test_equal_sha256_is_shared_across_origins_and_an_equal_pin_is_not(store):
    mine, theirs = source_of(LARGE), source_of(LARGE, origin="fake:theirs")
    bring(engine_on(store), manifest_of(mine), mine)
    bring(engine_on(store), manifest_of(theirs), theirs)
    assert theirs.reads == []
    third = source_of(LARGE, origin="fake:third", checksum=None)
    bring(engine_on(store), manifest_of(third), third)
    assert chunk_reads(third, "weights") == list(range(7))


def test_the_progress_at_the_end_is_the_truth(store):
    source = source_of({"old": content(2 * C + 1)})
    bring(engine_on(store), manifest_of(source), source)
    source.files["qwen/new"] = content(3 * C)
    source.fail_next(SourceUnavailable("reset"), times=2)
    progress = bring(engine_on(store), manifest_of(source), source)
    assert (progress.present, progress.total) == (5 * C + 1, 5 * C + 1)
    assert (progress.fetched, progress.shared, progress.retries) == (3 * C, 2 * C + 1, 2)


def test_a_reset_in_the_middle_is_mended(store):
    source = source_of(LARGE)
    manifest = manifest_of(source)
    source.fail_next(SourceUnavailable("reset"), times=3)
    bring(engine_on(store), manifest, source)
    assert here(store, manifest) == LARGE


# bytes that are wrong


@pytest.mark.parametrize("files", [LARGE, {"small": content(9)}])
def test_corrupt_bytes_are_never_visible_and_say_which_file(store, files):
    source = source_of(files)
    manifest = manifest_of(source)
    source.corrupt_next()
    with pytest.raises(SourceCorrupt, match=next(iter(files))):
        bring(engine_on(store), manifest, source)
    assert here(store, manifest) == {}


def test_corrupt_bytes_with_a_piecewise_checksum_are_never_visible(store):
    source = source_of(LARGE)
    manifest = with_crc32(manifest_of(source), LARGE)
    source.corrupt_next()
    with pytest.raises(SourceCorrupt, match="weights"):
        bring(engine_on(store), manifest, source)
    assert here(store, manifest) == {}


def test_after_corruption_the_file_is_fetched_anew_and_whole(store):
    source = source_of(LARGE)
    manifest = manifest_of(source)
    source.corrupt_next()
    with pytest.raises(SourceCorrupt):
        bring(engine_on(store), manifest, source)
    source.reads.clear()
    bring(engine_on(store), manifest, source)
    assert (here(store, manifest), chunk_reads(source, "weights")) == (LARGE, list(range(7)))


def test_a_file_overwritten_at_the_source_is_refused_and_nothing_of_it_is_visible(store):
    source = source_of({**LARGE, "config": b"{}"})
    manifest = manifest_of(source)
    source.files["qwen/weights"] = content(6 * C + 1, seed=2)
    with pytest.raises(SourceChanged, match="weights"):
        bring(engine_on(store), manifest, source)
    assert "weights" not in here(store, manifest)


def test_a_versioned_source_gives_what_was_pinned(store):
    source = source_of(LARGE, versioned=True)
    manifest = manifest_of(source)
    source.files["qwen/weights"] = b"new"
    bring(engine_on(store), manifest, source)
    assert here(store, manifest) == LARGE


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


# requests of several chunks


def test_neighbouring_chunks_share_a_request_and_less_of_one_towards_the_end(store):
    source = source_of({"weights": content(16 * C)}, checksum=None)
    bring(engine_on(store, quick(1, run_chunks=4)), manifest_of(source), source)
    assert [length // C for _, _, length in source.reads] == [4, 4, 4, 2, 1, 1]
    assert chunk_reads(source, "weights") == list(range(16))


def test_after_a_reset_in_the_middle_of_a_request_only_the_rest_is_asked_for(store):
    files = {"weights": content(16 * C)}
    source = source_of(files, checksum=None)
    source.fail_after(C // SMALL_BLOCK + 1, SourceUnavailable("reset"))
    progress = bring(engine_on(store, quick(1)), manifest_of(source), source)
    assert source.reads[:2] == [("weights", 0, 4 * C), ("weights", C + SMALL_BLOCK, 3 * C - SMALL_BLOCK)]
    assert (here(store, manifest_of(source)), progress.retries) == (files, 1)


def test_a_source_that_asks_to_slow_down_gets_fewer_streams_and_everything_arrives(store):
    source = source_of(LARGE)
    source.fail_next(SourceBusy("slow down", 0.0))
    engine = engine_on(store)
    progress = bring(engine, manifest_of(source), source)
    assert (here(store, manifest_of(source)), progress.retries) == (LARGE, 1)
    assert engine.streams.limit < QUICK.streams


# what stays in memory


@pytest.mark.parametrize(("waits", "room", "part"), [(True, 1 << 40, 1), (True, 0, 0), (False, 1 << 40, 0)])
@pytest.mark.usefixtures("disk_only")
def test_what_a_pod_waits_for_stays_in_memory_as_far_as_there_is_room(store, waits, room, part):
    source = source_of(LARGE)
    engine = engine_on(store, room=lambda *, kept=0: room - kept)
    bring(engine, manifest_of(source), source, urgent=lambda: waits)
    size = len(LARGE["weights"])
    assert in_memory(store, manifest_of(source)) == part * size
    assert (engine.keeping.kept_bytes, engine.keeping.passed_bytes) == (part * size, (1 - part) * size)


@pytest.mark.parametrize(("waits", "part"), [(True, 1), (False, 0)])
@pytest.mark.usefixtures("disk_only")
def test_the_same_holds_for_files_of_a_single_chunk(store, monkeypatch, waits, part):
    monkeypatch.undo()  # a chunk is 16 MiB
    source = source_of({f"small-{n}": content((2 << 20) + n) for n in range(6)})
    bring(engine_on(store, room=lambda *, kept=0: 1 << 40), manifest_of(source), source, urgent=lambda: waits)
    assert in_memory(store, manifest_of(source)) == part * manifest_of(source).size


def in_memory(store, manifest):
    """Return how many bytes of a Revision's blobs are in the page cache."""
    found = 0
    for entry in manifest.entries:
        with store.layout.blob(store.find(manifest.origin, entry)).open("rb") as blob:
            found += pages.resident(blob.fileno(), 0, entry.size)
    return found


@pytest.fixture
def disk_only(tmp_path):
    """Nothing to tell where the tests' directory is memory itself."""
    with (tmp_path / "probe").open("wb+") as probe:
        probe.write(b"x")
        probe.flush()
        pages.forget(probe.fileno())
        if pages.resident(probe.fileno(), 0, 1):
            pytest.skip("the tests' directory is in memory itself")


def test_a_store_in_memory_works_too(mounts, tmp_path):
    place = tmp_path / "memory"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "memory", place], check=True)
    source = source_of({**MODEL, **LARGE})
    settings = StoreSettings(place / "store", high_watermark=1.0, low_watermark=1.0)
    try:
        with contextlib.closing(Store(settings)) as store:
            bring(engine_on(store), manifest_of(source), source)
            assert here(store, manifest_of(source)) == {**FILLED, **LARGE}
    finally:
        mounts.unmount(place)


# real chunks


def test_real_chunks_of_16_mib_arrive(store, monkeypatch):
    monkeypatch.undo()
    files = {"shard": content(2 * CHUNK + 5), "edge": content(CHUNK, seed=1)}
    source = source_of(files, checksum=Algorithm.MD5)
    bring(engine_on(store), manifest_of(source), source)
    assert here(store, manifest_of(source)) == files


def test_a_plan_without_files_is_done_at_once(store):
    source = source_of({"empty": b""})
    within(bring, engine_on(store), Manifest.of(source.origin, manifest_of(source).entries), source)
    assert source.reads == []
