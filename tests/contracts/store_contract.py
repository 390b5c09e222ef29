"""What every StagingStore does. A subclass gives an empty one as the fixture ``store``, with room for 40 MiB."""

import threading

import pytest

from csi_model.core.manifest import Entry, Manifest
from csi_model.core.treehash import CHUNK, chunk_digest, digest_of
from csi_model.errors import StoreFull

ORIGIN = "s3+https://s3.example.com/models"
LARGE = Entry("weights/model.bin", CHUNK + 7, "m/model.bin", "etag-1")
SMALL = Entry("config.json", 12, "m/config.json", "etag-2")
EMPTY = Entry("empty", 0, "m/empty", "etag-3")
MODEL = Manifest.of(ORIGIN, [LARGE, SMALL, EMPTY])
FIRST = memoryview(bytes(range(256)) * (CHUNK // 256))
LAST = memoryview(b"the end")
CONFIG = memoryview(b'{"layers":1}')


def put_chunk(ingest, index, data, *, note="", cached=True):
    ingest.write(index * CHUNK, data, cached=cached)
    ingest.land(index, digest=chunk_digest(data), note=note)


def write_first(ingest, note=""):
    put_chunk(ingest, 0, FIRST, note=note)


def write_last(ingest):
    put_chunk(ingest, 1, LAST)


def bring_large(store):
    with store.ingest(ORIGIN, LARGE) as ingest:
        write_last(ingest)
        write_first(ingest)
        return ingest.commit()


def bring_small(store):
    batch = store.small_files(ORIGIN)
    batch.write(SMALL, CONFIG, digest=chunk_digest(CONFIG))
    batch.commit()


class StoreContract:
    """The suite."""

    # ingests

    def test_chunks_in_any_order_make_a_blob_named_by_the_tree_hash(self, store):
        digest = bring_large(store)
        assert digest == digest_of(bytes(FIRST) + bytes(LAST))
        assert store.find(ORIGIN, LARGE) == digest

    def test_what_is_not_committed_is_not_visible(self, store):
        with store.ingest(ORIGIN, LARGE) as ingest:
            write_first(ingest)
            write_last(ingest)
            ingest.checkpoint()
        assert store.find(ORIGIN, LARGE) is None

    def test_a_commit_with_a_missing_chunk_is_refused(self, store):
        with store.ingest(ORIGIN, LARGE) as ingest:
            write_first(ingest)
            with pytest.raises(ValueError, match="lacks 1 of 2 chunks"):
                ingest.commit()

    @pytest.mark.parametrize(("start", "size"), [(-1, 4), (0, CHUNK + 8), (CHUNK + 7, 1), (5, 0)])
    def test_bytes_that_the_file_does_not_have_are_refused(self, store, start, size):
        with store.ingest(ORIGIN, LARGE) as ingest, pytest.raises(ValueError, match="has no bytes"):
            ingest.write(start, memoryview(bytes(size)))

    @pytest.mark.parametrize("index", [-1, 2])
    def test_a_chunk_that_the_file_does_not_have_is_refused(self, store, index):
        with store.ingest(ORIGIN, LARGE) as ingest, pytest.raises(ValueError, match="has no chunk"):
            ingest.land(index, digest=bytes(32))

    @pytest.mark.parametrize("cached", [True, False])
    @pytest.mark.parametrize("block", [CHUNK, 1 << 20, 5_000_000])
    def test_blocks_of_any_size_make_the_file_whether_they_stay_in_the_page_cache_or_not(self, store, cached, block):
        data = bytes(FIRST) + bytes(LAST)
        with store.ingest(ORIGIN, LARGE) as ingest:
            for start in range(0, len(data), block):
                ingest.write(start, memoryview(data)[start : start + block], cached=cached)
            ingest.land(1, digest=chunk_digest(LAST))
            ingest.land(0, digest=chunk_digest(FIRST))
            assert ingest.commit() == digest_of(data)
        bring_small(store)
        assert (store.assemble(MODEL) / "weights/model.bin").read_bytes() == data

    def test_the_next_writer_has_what_was_checkpointed_with_its_note_and_nothing_else(self, store):
        with store.ingest(ORIGIN, LARGE) as ingest:
            write_first(ingest, note="crc 1,2")
            ingest.checkpoint()
            write_last(ingest)
        with store.ingest(ORIGIN, LARGE) as ingest:
            assert {index: chunk.note for index, chunk in ingest.landed.items()} == {0: "crc 1,2"}

    def test_a_resumed_ingest_reads_back_and_commits(self, store):
        with store.ingest(ORIGIN, LARGE) as ingest:
            write_first(ingest)
            ingest.checkpoint()
        with store.ingest(ORIGIN, LARGE) as ingest:
            view = memoryview(bytearray(CHUNK))
            ingest.read_into(0, view)
            assert view == FIRST
            write_last(ingest)
            assert ingest.commit() == digest_of(bytes(FIRST) + bytes(LAST))

    def test_pending_bytes_go_to_zero_at_a_checkpoint(self, store):
        with store.ingest(ORIGIN, LARGE) as ingest:
            write_first(ingest)
            assert ingest.pending_bytes >= CHUNK
            ingest.checkpoint()
            assert ingest.pending_bytes == 0

    def test_nothing_of_a_discarded_ingest_is_left(self, store):
        with store.ingest(ORIGIN, LARGE) as ingest:
            write_first(ingest)
            ingest.checkpoint()
            ingest.discard()
        with store.ingest(ORIGIN, LARGE) as ingest:
            assert ingest.landed == {}

    def test_one_writer_at_a_time(self, store):
        with store.ingest(ORIGIN, LARGE), store.ingest(ORIGIN, LARGE) as second:
            assert second is None
        with store.ingest(ORIGIN, LARGE) as third:
            assert third is not None

    def test_the_second_writer_waits_until_the_first_has_gone(self, store):
        entered = threading.Event()
        waiter = threading.Thread(target=lambda: (entered.set(), store.wait_for_writers(60)))
        with store.ingest(ORIGIN, LARGE):
            waiter.start()
            entered.wait()
            waiter.join(0.05)
            assert waiter.is_alive()
        waiter.join(30)
        assert not waiter.is_alive()

    def test_what_one_origin_has_is_not_taken_for_anothers(self, store):
        bring_large(store)
        assert store.find("s3+https://elsewhere.example.com/models", LARGE) is None

    def test_the_entries_of_a_revision_that_have_bytes_here_are_present(self, store):
        assert store.present(MODEL) == {}
        digest = bring_large(store)
        assert store.present(MODEL) == {LARGE.path: digest}
        bring_small(store)
        assert store.present(MODEL).keys() == {LARGE.path, SMALL.path}

    # small files

    def test_small_files_appear_together_at_commit(self, store):
        batch = store.small_files(ORIGIN)
        batch.write(SMALL, CONFIG, digest=chunk_digest(CONFIG))
        assert len(batch) == 1
        assert store.find(ORIGIN, SMALL) is None
        batch.commit()
        assert store.find(ORIGIN, SMALL) == digest_of(bytes(CONFIG))
        assert len(batch) == 0

    def test_an_abandoned_batch_leaves_nothing(self, store):
        batch = store.small_files(ORIGIN)
        batch.write(SMALL, CONFIG, digest=chunk_digest(CONFIG))
        batch.abandon()
        batch.commit()
        assert store.find(ORIGIN, SMALL) is None

    def test_a_small_file_of_the_wrong_length_is_refused(self, store):
        with pytest.raises(ValueError, match="expected 12"):
            store.small_files(ORIGIN).write(SMALL, CONFIG[:-1], digest=chunk_digest(CONFIG[:-1]))

    # trees

    def test_a_tree_is_there_once_everything_is(self, store):
        bring_large(store)
        with pytest.raises(LookupError):
            store.assemble(MODEL)
        assert store.tree(MODEL.digest) is None
        bring_small(store)
        root = store.assemble(MODEL)
        assert store.tree(MODEL.digest) == root
        assert (root / "config.json").read_bytes() == CONFIG
        assert (root / "empty").read_bytes() == b""
        assert (root / "weights/model.bin").read_bytes() == bytes(FIRST) + bytes(LAST)

    def test_assembling_twice_gives_the_same_tree(self, store):
        bring_large(store)
        bring_small(store)
        assert store.assemble(MODEL) == store.assemble(MODEL)

    def test_an_empty_entry_is_never_looked_for(self, store):
        assert store.find(ORIGIN, EMPTY) is None

    # room

    def test_two_reservations_cannot_promise_the_same_bytes(self, store):
        with store.reserve(30 * 2**20), pytest.raises(StoreFull, match="are missing"):
            store.reserve(30 * 2**20)
        with store.reserve(30 * 2**20):
            pass

    def test_used_bytes_go_back_when_they_lie_on_the_disk(self, store):
        with store.reserve(30 * 2**20) as promise:
            promise.used(20 * 2**20)
            with store.reserve(20 * 2**20):
                promise.recheck()

    def test_nothing_can_always_be_reserved(self, store):
        with store.reserve(0) as promise:
            promise.used(5)
            promise.recheck()

    def test_an_ingest_that_was_never_opened_has_no_bytes_on_the_disk(self, store):
        assert store.allocated(ORIGIN, LARGE) == 0

    def test_a_revision_can_be_wanted_by_several_at_once(self, store):
        with store.wanted(MODEL), store.wanted(MODEL):
            bring_large(store)
        assert store.find(ORIGIN, LARGE)
