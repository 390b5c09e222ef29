"""Which bytes stay in memory, and how requests and streams adapt."""

import contextlib
import subprocess

import pytest

from csi_model.errors import SourceBusy, SourceUnavailable
from csi_model.settings import StoreSettings
from csi_model.store import pages
from csi_model.store.store import Store
from tests.transfer.bringing import (
    FILLED,
    LARGE,
    MODEL,
    QUICK,
    SMALL_BLOCK,
    SMALL_CHUNK,
    bring,
    chunk_reads,
    content,
    engine_on,
    here,
    manifest_of,
    quick,
    source_of,
)

pytestmark = pytest.mark.usefixtures("small_chunks")
C = SMALL_CHUNK


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
