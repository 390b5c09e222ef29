"""Room on a real, small disk: promised before the first byte, and never twice."""

import ctypes
import errno
import threading
from contextlib import ExitStack

import pytest

from csi_model.core.treehash import digest_of
from csi_model.errors import StoreFull
from csi_model.store import durable
from tests.store.shelf import ORIGIN, Shelf, content, entry, hold_of, model, put, stage, write_chunks

MIB = 2**20


@pytest.fixture
def shelf(disk, small_chunks):
    with Shelf(disk / "store", high_watermark=0.8, low_watermark=0.5) as shelf:
        yield shelf


def fill(disk, size, name="theirs"):
    with (disk / name).open("wb") as file:
        while size > 0:
            size -= file.write(bytes(min(size, MIB)))


def big(name):
    """Staged, it takes 16 MiB: a quarter of the disk."""
    return model(name, sizes=(16 * MIB,))


@pytest.fixture
def large_chunks(monkeypatch):
    monkeypatch.setattr("csi_model.core.treehash.CHUNK", MIB)


def test_the_room_is_what_is_left_below_the_high_watermark(shelf):
    room = shelf.store.space.room()
    assert room.total == 64 * MIB
    assert room.available == int(64 * MIB * 0.8) - room.used


def test_more_than_the_disk_may_ever_hold_is_refused_as_such(shelf):
    with pytest.raises(StoreFull, match=r"more than the 53\.\d MB that the store's disk may hold") as caught:
        shelf.store.reserve(60 * MIB)
    assert caught.value.needed == 60 * MIB


def test_a_full_disk_says_how_much_is_missing_and_what_could_be_evicted(shelf, large_chunks):
    stage(shelf.store, big("idle"))
    stage(shelf.store, big("held"))
    shelf.store.holds.put(hold_of(big("held")))
    with pytest.raises(StoreFull) as caught:
        shelf.store.reserve(50 * MIB)
    free = shelf.store.space.room().available
    assert (caught.value.needed, caught.value.free) == (50 * MIB, free)
    assert caught.value.evictable == pytest.approx(16 * MIB, abs=64 * 1024)
    assert "52.4 MB" in str(caught.value)
    assert "are missing, 16.8 MB more could be evicted" in str(caught.value)


def test_not_a_tree_is_touched_if_all_together_would_not_suffice(shelf, large_chunks):
    stage(shelf.store, big("a"))
    stage(shelf.store, big("held"))
    shelf.store.holds.put(hold_of(big("held")))
    with pytest.raises(StoreFull):
        shelf.store.reserve(40 * MIB)
    assert shelf.store.tree(big("a").digest)


def test_what_blobs_without_a_tree_free_counts_towards_what_suffices(shelf, large_chunks):
    stage(shelf.store, big("a"))
    put(shelf.store, entry("loose", 16 * MIB))
    with shelf.store.reserve(45 * MIB):
        assert shelf.store.tree(big("a").digest) is None


def test_room_is_made_for_what_is_promised_and_no_more(shelf, large_chunks):
    for name in ("a", "b"):
        stage(shelf.store, big(name))
    with shelf.store.reserve(25 * MIB):
        assert sorted(bool(shelf.store.tree(big(name).digest)) for name in ("a", "b")) == [False, True]


def test_two_promises_of_the_same_bytes_are_refused(shelf):
    with shelf.store.reserve(30 * MIB), pytest.raises(StoreFull, match="are missing"):
        shelf.store.reserve(30 * MIB)


def test_many_at_once_never_promise_more_than_there_is(shelf):
    promises = []

    def promise():
        try:
            promises.append(shelf.store.reserve(8 * MIB))
        except StoreFull:
            return

    threads = [threading.Thread(target=promise) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(promises) == 6
    assert shelf.store.space.room().available >= 0


def test_a_promise_is_used_up_by_what_lies_on_the_disk(shelf):
    with shelf.store.reserve(20 * MIB) as promise:
        before = shelf.store.space.room().available
        fill(shelf.layout.assembly, 15 * MIB)
        promise.used(15 * MIB)
        assert shelf.store.space.room().available == pytest.approx(before, abs=64 * 1024)
    assert shelf.store.space.room().reserved == 0


def test_nothing_can_be_reserved_on_a_disk_above_its_watermark(shelf, disk):
    fill(disk, 60 * MIB)
    with shelf.store.reserve(0) as promise:
        promise.recheck()


def test_using_more_than_was_promised_or_less_than_nothing_changes_nothing_else(shelf):
    with shelf.store.reserve(MIB), shelf.store.reserve(MIB) as promise:
        promise.used(-5)
        assert shelf.store.space.room().reserved == 2 * MIB
        promise.used(5 * MIB)
        assert shelf.store.space.room().reserved == MIB


def test_a_recheck_notices_that_others_filled_the_disk(shelf, disk):
    with shelf.store.reserve(30 * MIB) as promise:
        promise.recheck()
        fill(disk, 25 * MIB)
        with pytest.raises(StoreFull, match="are missing"):
            promise.recheck()
        assert shelf.store.space.room().reserved == 30 * MIB


def test_a_recheck_makes_the_room_again_that_others_took(shelf, disk, large_chunks):
    stage(shelf.store, big("idle"))
    with shelf.store.reserve(30 * MIB) as promise:
        fill(disk, 12 * MIB)
        promise.recheck()
        assert shelf.store.tree(big("idle").digest) is None


def test_nobody_can_take_a_promise_while_it_is_rechecked(shelf):
    with ExitStack() as stack:
        stack.enter_context(shelf.store.reserve(40 * MIB)).recheck()
        assert shelf.store.space.room().reserved == 40 * MIB
        with pytest.raises(StoreFull):
            shelf.store.reserve(20 * MIB)


def test_a_disk_that_fills_in_the_middle_keeps_the_durable_chunks(shelf, disk, monkeypatch):
    no_fallocate(monkeypatch, errno.EOPNOTSUPP)
    item = entry("m.bin", 40_000)
    data = content("m", 40_000)
    with shelf.store.ingest(ORIGIN, item) as ingest:
        assert not ingest.reserved
        write_chunks(ingest, data, [0, 1])
        ingest.checkpoint()
        with pytest.raises(OSError, match="No space"):
            fill(disk, 100 * MIB)
        with pytest.raises(StoreFull, match=r"the disk filled up while writing m\.bin"):
            write_chunks(ingest, data, [2, 3])
        (disk / "theirs").unlink()
    shelf.reopen()
    with shelf.store.ingest(ORIGIN, item) as ingest:
        assert set(ingest.landed) == {0, 1}
        write_chunks(ingest, data, range(2, 10))
        assert ingest.commit() == digest_of(data)


def no_fallocate(monkeypatch, code):
    real = durable._libc

    class Libc:
        sync_file_range = staticmethod(real.sync_file_range)
        syncfs = staticmethod(real.syncfs)

        @staticmethod
        def fallocate(*_):
            ctypes.set_errno(code)
            return -1

    monkeypatch.setattr(durable, "_libc", Libc)


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_fallocate_works_and_is_not_filled_with_zeros(shelf, monkeypatch, code):
    no_fallocate(monkeypatch, code)
    with shelf.store.ingest(ORIGIN, entry("huge", 60 * MIB)) as ingest:
        assert not ingest.reserved
        assert shelf.store.space.room().used < MIB
    assert stage(shelf.store, model())


def test_tidy_does_nothing_below_the_high_watermark(shelf, large_chunks):
    for name in ("a", "b"):
        stage(shelf.store, big(name))
    fill(shelf.layout.root.parent, 10 * MIB)  # 65 %
    shelf.store.tidy()
    assert shelf.store.tree(big("a").digest)
    assert shelf.store.tree(big("b").digest)


def test_tidy_goes_down_to_the_low_watermark(shelf, disk, large_chunks):
    for name in ("a", "b"):
        stage(shelf.store, big(name))
    fill(disk, 22 * MIB)  # 84 %
    shelf.store.tidy()
    room = shelf.store.space.room()
    assert room.used <= room.total * 0.5


def test_tidy_goes_as_far_as_it_can(shelf, disk, large_chunks):
    stage(shelf.store, big("a"))
    fill(disk, 45 * MIB)
    shelf.store.tidy()
    assert list(shelf.store.trees.all()) == []
