"""What an earlier transfer wrote is not fetched again, and for piecewise checksums not even read again."""

import contextlib
import os
import subprocess
import threading
from pathlib import Path

import pytest

from csi_model.core.checksum import Algorithm
from csi_model.errors import SourceCorrupt, SourceDenied, StoreFull, StoreUnusable
from csi_model.settings import StoreSettings
from csi_model.store.ingest import DiskIngest
from csi_model.store.store import Store
from csi_model.transfer.fetching import Stopped
from tests.transfer.bringing import (
    ONE_STREAM,
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
    source_of,
    with_crc32,
)

pytestmark = pytest.mark.usefixtures("small_chunks")
C = SMALL_CHUNK
LARGE = {"weights": content(6 * C + 1)}


def interrupt(store, source, manifest, *, after):
    """Fetch ``after`` chunks, then fail."""
    source.serve_next(after)
    source.fail_next(SourceDenied("revoked"))
    with pytest.raises(SourceDenied):
        bring(engine_on(store, ONE_STREAM), manifest, source)
    source.reads.clear()


@pytest.fixture
def read_back(monkeypatch):
    """Note where blocks are read back from the disk."""
    starts, real = [], DiskIngest.read_into
    monkeypatch.setattr(
        DiskIngest, "read_into", lambda self, start, view: starts.append(start) or real(self, start, view)
    )
    return starts


@pytest.mark.parametrize("checksum", [None, Algorithm.SHA256, Algorithm.MD5])
def test_only_the_rest_is_fetched_after_an_error(store, checksum):
    source = source_of(LARGE, checksum=checksum)
    manifest = manifest_of(source)
    interrupt(store, source, manifest, after=3)
    bring(engine_on(store), manifest, source)
    assert (here(store, manifest), chunk_reads(source, "weights")) == (LARGE, [3, 4, 5, 6])


def test_only_the_rest_is_fetched_after_a_stop(store):
    source = source_of(LARGE)
    manifest = manifest_of(source)
    source.serve_next(2)
    stall, stop = source.stall_next(), threading.Event()
    answer = begin(lambda: bring(engine_on(store, ONE_STREAM), manifest, source, stop=stop))
    stall.reached.wait()
    stop.set()
    with pytest.raises(Stopped):
        answer.result(30)
    source.closed = False
    source.reads.clear()
    bring(engine_on(store), manifest, source)
    assert (here(store, manifest), chunk_reads(source, "weights")) == (LARGE, [2, 3, 4, 5, 6])


def test_the_progress_of_a_resumed_transfer_counts_what_was_there(store):
    source = source_of(LARGE)
    manifest = manifest_of(source)
    interrupt(store, source, manifest, after=3)
    progress = bring(engine_on(store), manifest, source)
    assert (progress.shared, progress.fetched) == (3 * C, 3 * C + 1)


def test_crcs_resume_without_reading_anything_back(store, read_back):
    source = source_of(LARGE)
    manifest = with_crc32(manifest_of(source), LARGE)
    interrupt(store, source, manifest, after=3)
    bring(engine_on(store), manifest, source)
    assert (here(store, manifest), read_back) == (LARGE, [])


def test_a_hash_that_needs_order_reads_each_durable_chunk_back_once(store, read_back):
    source = source_of(LARGE)
    manifest = manifest_of(source)
    interrupt(store, source, manifest, after=3)
    bring(engine_on(store), manifest, source)
    assert read_back == list(range(0, 3 * C, SMALL_BLOCK))


def test_damage_on_the_disk_is_found_when_durable_chunks_are_read_back(store):
    source = source_of(LARGE)
    manifest = manifest_of(source)
    interrupt(store, source, manifest, after=3)
    (data,) = store.layout.ingests.glob("*/data")
    with data.open("r+b") as file:
        file.write(b"x")
    with pytest.raises(SourceCorrupt, match="weights"):
        bring(engine_on(store), manifest, source)
    assert here(store, manifest) == {}


def test_a_stop_is_heeded_while_chunks_are_read_back(store, monkeypatch):
    source = source_of(LARGE)
    manifest = manifest_of(source)
    interrupt(store, source, manifest, after=6)
    stop, closed, real = threading.Event(), threading.Event(), DiskIngest.read_into
    read = []

    def read_into(self, start, view):
        read.append(start)
        stop.set()
        closed.wait()  # by then the transfer has seen the stop
        real(self, start, view)

    monkeypatch.setattr(source, "close", closed.set)
    monkeypatch.setattr(DiskIngest, "read_into", read_into)
    with pytest.raises(Stopped):
        bring(engine_on(store), manifest, source, stop=stop)
    assert read == [0]


@pytest.mark.parametrize("checksum", [None, Algorithm.SHA256])
def test_a_file_that_is_whole_but_was_not_committed_needs_no_request(store, monkeypatch, checksum):
    source = source_of(LARGE, checksum=checksum)
    manifest = manifest_of(source)
    with monkeypatch.context() as broken:
        broken.setattr(DiskIngest, "commit", failing(StoreUnusable("I/O error")))
        with pytest.raises(StoreUnusable):
            bring(engine_on(store), manifest, source)
    source.reads.clear()
    bring(engine_on(store), manifest, source)
    assert (here(store, manifest), source.reads) == (LARGE, [])


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def test_a_typed_error_counts_more_than_what_it_led_to(store, monkeypatch):
    """A checkpoint that fails loses chunks; another thread's commit must not make a bug of it."""
    source = source_of({"a": content(2 * C), "b": content(2 * C, seed=1)})
    manifest = manifest_of(source)
    first = threading.Event()

    def commit(self):
        if not first.is_set():
            first.set()
            raise ValueError("lacks chunks")
        raise StoreFull("no room")

    together = threading.Barrier(4)  # all chunks of both files: from here on both files are committed, whatever fails
    real = DiskIngest.land

    def land(self, index, **how):
        real(self, index, **how)
        together.wait(30)

    monkeypatch.setattr(DiskIngest, "commit", commit)
    monkeypatch.setattr(DiskIngest, "land", land)
    with pytest.raises(StoreFull):
        bring(engine_on(store), manifest, source)


def test_a_full_disk_in_the_middle_keeps_what_was_written(store, monkeypatch):
    source = source_of(LARGE)
    manifest = manifest_of(source)
    room, real = iter([True] * (4 * C // SMALL_BLOCK)), DiskIngest.write

    def write(self, start, data, **how):
        if not next(room, False):
            raise StoreFull("no room")
        real(self, start, data, **how)

    with monkeypatch.context() as full:
        full.setattr(DiskIngest, "write", write)
        with pytest.raises(StoreFull):
            bring(engine_on(store, ONE_STREAM), manifest, source)
    source.reads.clear()
    bring(engine_on(store), manifest, source)
    assert (here(store, manifest), chunk_reads(source, "weights")) == (LARGE, [4, 5, 6])


@pytest.fixture
def tiny_disk(mounts, tmp_path):
    """A file system of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tiny", disk], check=True)
    yield disk
    mounts.unmount(disk)


def test_others_who_fill_the_disk_stop_the_transfer_until_there_is_room(tiny_disk):
    files = {"a": content(16 * C), "b": content(15 * C, seed=1)}
    source = source_of(files)
    manifest = manifest_of(source)
    stall = source.stall_next()
    filler = tiny_disk / "filler"
    with contextlib.closing(Store(StoreSettings(tiny_disk / "store", high_watermark=1.0, low_watermark=1.0))) as store:
        engine = engine_on(store, ONE_STREAM)
        answer = begin(bring, engine, manifest, source)
        stall.reached.wait()
        filler.write_bytes(bytes(2_500_000))
        stall.released.set()
        with pytest.raises(StoreFull):
            answer.result(30)
        assert list(here(store, manifest)) == ["a"]
        filler.unlink()
        source.reads.clear()
        bring(engine, manifest, source)
        assert (here(store, manifest), {path for path, _, _ in source.reads}) == (files, {"b"})


def test_when_others_fill_the_disk_what_nothing_holds_makes_room(tiny_disk):
    old, new = source_of({"old": content(16 * C, seed=7)}), source_of({"a": content(16 * C), "b": content(15 * C)})
    stall = new.stall_next()
    with contextlib.closing(Store(StoreSettings(tiny_disk / "store", high_watermark=1.0, low_watermark=1.0))) as store:
        engine = engine_on(store, ONE_STREAM)
        bring(engine, manifest_of(old), old)
        store.assemble(manifest_of(old))
        answer = begin(bring, engine, manifest_of(new), new)
        stall.reached.wait()
        (tiny_disk / "filler").write_bytes(bytes(1_400_000))
        stall.released.set()
        answer.result(30)
        assert sorted(here(store, manifest_of(new))) == ["a", "b"]
        assert store.tree(manifest_of(old).digest) is None


def test_a_model_larger_than_the_disk_is_refused_before_the_first_byte(tiny_disk):
    source = source_of({"a": content(80 * C)})
    with contextlib.closing(Store(StoreSettings(tiny_disk / "store"))) as store:
        engine = engine_on(store)
        with pytest.raises(StoreFull, match="larger disk"):
            bring(engine, manifest_of(source), source)
        assert source.reads == []
        assert nothing_in_use(engine)


def open_files(root):
    """Return what the process has open below a directory."""
    descriptors = Path("/proc/self/fd").iterdir()
    return sorted(place for place in map(os.path.realpath, descriptors) if place.startswith(str(root)))


def test_no_file_stays_open_after_a_transfer_that_failed(store, tmp_path):
    source = source_of({f"shard-{n}": content(2 * C, seed=n) for n in range(4)})
    before = open_files(tmp_path)
    interrupt(store, source, manifest_of(source), after=5)
    assert open_files(tmp_path) == before
