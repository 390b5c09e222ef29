"""The unfinished write: what it leaves on the disk, and what it gives back to the next life."""

import hashlib
import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csi_model.core.checksum import Algorithm, Checksum
from csi_model.core.treehash import chunk_digest, digest_of
from csi_model.errors import StoreFull, StoreUnusable
from csi_model.store.identity import ingest_name
from tests.store.shelf import ORIGIN, Shelf, content, entry, put, write_chunks

DATA = content("weights", 20_000)
ENTRY = entry("model.bin", 20_000)


def ledger_of(shelf):
    return shelf.layout.ledger(shelf.layout.ingest(ingest_name(ORIGIN, ENTRY)))


def leave(shelf, indices):
    """Write some chunks durably, and die."""
    with shelf.store.ingest(ORIGIN, ENTRY) as ingest:
        write_chunks(ingest, DATA, indices)
        ingest.checkpoint()
    shelf.reopen()


def test_a_blob_is_read_only_with_a_constant_time_and_its_tree_hash_as_name(shelf):
    digest = put(shelf.store, ENTRY, DATA)
    blob = shelf.layout.blob(digest)
    assert digest == digest_of(DATA)
    assert blob.read_bytes() == DATA
    assert (blob.stat().st_mode & 0o7777, blob.stat().st_mtime) == (0o444, 0)


def test_the_digests_of_a_blobs_chunks_lie_beside_it(shelf, small_chunks):
    digest = put(shelf.store, ENTRY, DATA)
    expected = [chunk_digest(DATA[start : start + small_chunks]) for start in range(0, len(DATA), small_chunks)]
    assert shelf.store.blobs.chunk_digests(digest) == expected


def test_a_committed_ingest_is_gone(shelf):
    put(shelf.store, ENTRY, DATA)
    assert list(shelf.layout.ingests.iterdir()) == []


def test_the_next_life_has_the_durable_chunks_and_no_others(shelf):
    with shelf.store.ingest(ORIGIN, ENTRY) as ingest:
        write_chunks(ingest, DATA, [3, 0])
        ingest.checkpoint()
        write_chunks(ingest, DATA, [1])
        shelf.reopen()  # nobody said goodbye
        with shelf.store.ingest(ORIGIN, ENTRY) as resumed:
            assert set(resumed.landed) == {0, 3}


def test_a_resumed_ingest_needs_only_the_rest(shelf):
    leave(shelf, [4, 2])
    with shelf.store.ingest(ORIGIN, ENTRY) as ingest:
        write_chunks(ingest, DATA, [0, 1, 3])
        assert ingest.commit() == digest_of(DATA)
    assert shelf.layout.blob(digest_of(DATA)).read_bytes() == DATA


def test_a_ledger_without_its_bytes_is_about_other_bytes(shelf):
    leave(shelf, [0, 1, 2, 3, 4])
    shelf.layout.data(ledger_of(shelf).parent).unlink()
    with shelf.store.ingest(ORIGIN, ENTRY) as ingest:
        assert ingest.landed == {}


@pytest.mark.parametrize("rubbish", [b"4 zz |00000000\n", b"\xff\xfe\n", b"|\n", b"5 " + b"ab" * 32 + b" |12345678\n"])
def test_a_damaged_line_is_ignored(shelf, rubbish):
    leave(shelf, [1])
    ledger = ledger_of(shelf)
    ledger.write_bytes(rubbish + ledger.read_bytes() + rubbish)
    with shelf.store.ingest(ORIGIN, ENTRY) as ingest:
        assert set(ingest.landed) == {1}


def test_a_torn_last_line_does_not_swallow_the_next_one(shelf):
    leave(shelf, [1, 2])
    os.truncate(ledger_of(shelf), ledger_of(shelf).stat().st_size - 5)
    leave(shelf, [3])
    with shelf.store.ingest(ORIGIN, ENTRY) as ingest:
        assert set(ingest.landed) == {1, 3}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(cut=st.integers(0, 400), place=st.integers(0, 399), noise=st.binary(max_size=8))
def test_no_damage_to_the_ledger_yields_a_chunk_that_was_not_recorded(shelf, cut, place, noise):
    with shelf.store.ingest(ORIGIN, ENTRY) as ingest:
        write_chunks(ingest, DATA)
        ingest.checkpoint()
        recorded = dict(ingest.landed)
        whole = ledger_of(shelf).read_bytes()
        ledger_of(shelf).write_bytes((whole[:place] + noise + whole[place + len(noise) :])[: len(whole) - cut])
    with shelf.store.ingest(ORIGIN, ENTRY) as ingest:
        assert ingest.landed.items() <= recorded.items()
        ingest.discard()


def test_chunks_do_not_count_when_the_disk_fails_to_make_them_durable(shelf, monkeypatch):
    with shelf.store.ingest(ORIGIN, ENTRY) as ingest:
        write_chunks(ingest, DATA)
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", _fail)
            with pytest.raises(StoreUnusable, match=r"making model\.bin durable failed"):
                ingest.checkpoint()
        ingest.checkpoint()  # the kernel forgets a failed page: a second fsync proves nothing
        assert ingest.landed == {}


def _fail(*_):
    raise OSError(5, "Input/output error")


def test_the_file_of_an_ingest_has_its_room_from_the_start(shelf):
    with shelf.store.ingest(ORIGIN, ENTRY) as ingest:
        assert ingest.reserved
        assert shelf.store.allocated(ORIGIN, ENTRY) >= ENTRY.size


def test_a_disk_without_room_for_the_file_says_so(disk, small_chunks):
    with Shelf(disk / "store") as shelf:
        huge = entry("huge.bin", 100 * 2**20)
        with pytest.raises(StoreFull, match=r"huge\.bin"), shelf.store.ingest(ORIGIN, huge):
            pass
        assert put(shelf.store, ENTRY, DATA)


# whose bytes they are


def test_identical_bytes_are_on_the_disk_once(shelf):
    first = put(shelf.store, ENTRY, DATA)
    second = put(shelf.store, entry("copy.bin", 20_000, pin="v2"), DATA)
    assert first == second
    assert len(shelf.store.blobs.files_of(first)) == 1
    assert list(shelf.layout.assembly.iterdir()) == []


def test_a_blob_that_lost_its_size_is_replaced_by_the_next_one(shelf):
    blob = shelf.layout.blob(put(shelf.store, ENTRY, DATA))
    blob.chmod(0o600)
    blob.write_bytes(DATA[:-1])
    assert shelf.store.find(ORIGIN, ENTRY) is None
    assert shelf.layout.blob(put(shelf.store, ENTRY, DATA)).read_bytes() == DATA


@pytest.mark.parametrize("change", [{"pin": "v2"}, {"key": "other"}])
def test_another_pin_or_key_is_another_file(shelf, change):
    put(shelf.store, ENTRY, DATA)
    assert shelf.store.find(ORIGIN, entry("model.bin", 20_000, **change)) is None


def test_an_equal_etag_elsewhere_is_no_proof(shelf):
    put(shelf.store, ENTRY, DATA)
    assert shelf.store.find("s3+https://evil.example.com/models", ENTRY) is None


def test_an_equal_sha256_elsewhere_is_proof(shelf):
    ours = entry("model.bin", 20_000, sha256=DATA)
    theirs = entry("weights.bin", 20_000, pin="zzz", sha256=DATA)
    digest = put(shelf.store, ours, DATA)
    assert shelf.store.find("s3+https://elsewhere.example.com/m", theirs) == digest


@pytest.mark.parametrize("algorithm", ["crc64nvme", "crc32c", "md5", "sha1"])
def test_a_checksum_that_can_be_forged_is_no_proof_elsewhere(shelf, algorithm):
    kind = Algorithm(algorithm)
    checksum = Checksum(kind, hashlib.shake_128(DATA).hexdigest(kind.size))
    put(shelf.store, replace(ENTRY, checksum=checksum), DATA)
    assert shelf.store.find("s3+https://elsewhere.example.com/m", replace(ENTRY, checksum=checksum)) is None


def test_a_composite_sha256_is_no_proof_elsewhere(shelf):
    composite = Checksum(Algorithm.SHA256, hashlib.sha256(DATA).hexdigest(), ((10_000, 2),))
    put(shelf.store, replace(ENTRY, checksum=composite), DATA)
    assert shelf.store.find("s3+https://elsewhere.example.com/m", replace(ENTRY, checksum=composite)) is None


# small files


def test_a_batch_becomes_read_only_blobs_with_a_constant_time(shelf):
    for n in range(10):
        digest = put(shelf.store, entry(f"{n}.json", 100 + n))
        status = shelf.layout.blob(digest).stat()
        assert (status.st_mode & 0o7777, status.st_mtime) == (0o444, 0)


def test_blobs_can_be_read_by_every_user_whatever_the_umask(shelf):
    before = os.umask(0o077)
    try:
        digests = [put(shelf.store, ENTRY, DATA), put(shelf.store, entry("a.json", 100))]
    finally:
        os.umask(before)
    assert {shelf.layout.blob(digest).stat().st_mode & 0o7777 for digest in digests} == {0o444}


def test_a_small_file_that_cannot_be_written_leaves_nothing_and_does_not_belong_to_the_batch(shelf, monkeypatch):
    batch = shelf.store.small_files(ORIGIN)
    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", _fail)
        with pytest.raises(StoreUnusable, match=r"a\.json"):
            batch.write(entry("a.json", 3), memoryview(b"abc"), digest=chunk_digest(b"abc"))
    assert len(batch) == 0
    assert list(shelf.layout.assembly.iterdir()) == []


def test_a_batch_whose_commit_failed_half_way_can_be_committed_again(shelf, monkeypatch):
    items = [entry(f"{n}.json", 50 + n) for n in range(8)]
    batch = shelf.store.small_files(ORIGIN)
    for item in items:
        data = content(item.key, item.size)
        batch.write(item, memoryview(data), digest=chunk_digest(data))
    renames = iter(range(100))
    rename = os.rename

    def some(source, target):
        if "small-" in str(source) and next(renames) == 3:
            _fail()
        rename(source, target)

    monkeypatch.setattr(os, "rename", some)
    with pytest.raises(StoreUnusable):
        batch.commit()
    batch.commit()
    assert all(shelf.store.find(ORIGIN, item) for item in items)
