import pytest

from csi_model.core.checksum import Algorithm
from csi_model.core.manifest import Manifest
from csi_model.core.treehash import CHUNK
from csi_model.errors import SourceChanged, SourceCorrupt, SourceUnavailable
from tests.transfer.bringing import (
    FILLED,
    LARGE,
    MODEL,
    ONE_STREAM,
    QUICK,
    SIZES,
    SMALL_CHUNK,
    TWO_STREAMS,
    bring,
    chunk_reads,
    content,
    engine_on,
    here,
    manifest_of,
    source_of,
    with_crc32,
    within,
)

pytestmark = pytest.mark.usefixtures("small_chunks")
C = SMALL_CHUNK


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
