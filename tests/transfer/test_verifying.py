"""Every algorithm, flat and composite, against values computed another way; chunks of 64 bytes, so that all is quick."""

import hashlib
import random
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csi_model.core import treehash
from csi_model.core.checksum import Algorithm, Checksum
from csi_model.core.manifest import Entry
from csi_model.core.treehash import chunk_count, chunk_range
from csi_model.errors import SourceCorrupt
from csi_model.transfer.verifying import verifier_for

CHUNK = 64
SIZES = [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5]
EVERY = list(Algorithm)
COMPOSITE = [algorithm for algorithm in EVERY if algorithm is not Algorithm.GIT_SHA1]
CRCS = [algorithm for algorithm in EVERY if algorithm.combinable]
MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


@pytest.fixture(autouse=True)
def tiny_chunks(monkeypatch):
    monkeypatch.setattr(treehash, "CHUNK", CHUNK)


def reflected_crc(data, polynomial, bits):
    """A CRC bit by bit, as textbooks have it."""
    ones = (1 << bits) - 1
    value = ones
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
    return (value ^ ones).to_bytes(bits // 8, "big")


def raw(algorithm, data):
    match algorithm:
        case Algorithm.CRC32:
            return zlib.crc32(data).to_bytes(4, "big")
        case Algorithm.CRC32C:
            return reflected_crc(data, 0x82F63B78, 32)
        case Algorithm.CRC64NVME:
            return reflected_crc(data, 0x9A6C9329AC4BC9B5, 64)
        case Algorithm.GIT_SHA1:
            return hashlib.sha1(f"blob {len(data)}\0".encode() + data).digest()
    return hashlib.new(algorithm.value, data).digest()


def flat(algorithm, data):
    return Checksum(algorithm, raw(algorithm, data).hex())


def composite(algorithm, data, part):
    pieces = [data[start : start + part] for start in range(0, len(data), part)]
    whole, rest = divmod(len(data), part)
    parts = tuple(pair for pair in ((part, whole), (rest, 1 if rest else 0)) if all(pair))
    return Checksum(algorithm, raw(algorithm, b"".join(raw(algorithm, piece) for piece in pieces)).hex(), parts)


def content(size):
    return random.Random(size).randbytes(size)


def entry_of(data, checksum):
    return Entry("model.safetensors", len(data), "key", "pin", checksum)


def chunk_of(data, index):
    return memoryview(data)[slice(*chunk_range(index, len(data)))]


def verify(data, checksum, *, order=None):
    verifier = verifier_for(entry_of(data, checksum))
    for index in order or range(chunk_count(len(data))):
        verifier.take(index, chunk_of(data, index))
    verifier.finish()


def test_the_reference_values_are_the_known_ones():
    assert raw(Algorithm.CRC32C, b"123456789").hex() == "e3069283"
    assert raw(Algorithm.CRC64NVME, b"123456789").hex() == "ae8b14860a799888"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("algorithm", EVERY)
def test_a_flat_checksum_of_the_right_bytes_is_accepted(algorithm, size):
    verify(content(size), flat(algorithm, content(size)))


@pytest.mark.parametrize("part", [1, 7, 40, CHUNK, CHUNK + 3, 1000])
@pytest.mark.parametrize("algorithm", COMPOSITE)
def test_a_composite_whose_parts_are_no_chunks_is_accepted(algorithm, part):
    data = content(3 * CHUNK + 5)
    verify(data, composite(algorithm, data, part))


@pytest.mark.parametrize("algorithm", COMPOSITE)
def test_a_composite_of_a_single_part_is_not_taken_for_a_flat_one(algorithm):
    data = content(CHUNK + 5)
    verify(data, composite(algorithm, data, len(data)))
    with pytest.raises(SourceCorrupt):
        verify(data, Checksum(algorithm, flat(algorithm, data).value, ((len(data), 1),)))


@pytest.mark.parametrize("algorithm", CRCS)
def test_crcs_take_chunks_in_any_order(algorithm):
    data = content(5 * CHUNK + 1)
    verify(data, flat(algorithm, data), order=[3, 0, 5, 2, 4, 1])


@MANY
@given(data=st.binary(min_size=1, max_size=300), algorithm=st.sampled_from(EVERY), drawn=st.data())
def test_a_flipped_bit_anywhere_is_found(data, algorithm, drawn):
    part = drawn.draw(st.integers(0, 100)) if algorithm in COMPOSITE else 0
    checksum = composite(algorithm, data, part) if part else flat(algorithm, data)
    verify(data, checksum)
    damaged = bytearray(data)
    damaged[drawn.draw(st.integers(0, len(data) - 1))] ^= 1 << drawn.draw(st.integers(0, 7))
    with pytest.raises(SourceCorrupt):
        verify(bytes(damaged), checksum)


@pytest.mark.parametrize("algorithm", EVERY)
def test_the_error_names_the_file_and_both_values(algorithm):
    wrong, right = content(CHUNK), flat(algorithm, b"other")
    with pytest.raises(SourceCorrupt, match=r"model\.safetensors") as caught:
        verify(wrong, right)
    assert right.value in str(caught.value)
    assert raw(algorithm, wrong).hex() in str(caught.value)


@pytest.mark.parametrize("part", [0, 7, 40, CHUNK])
@pytest.mark.parametrize("algorithm", CRCS)
def test_crcs_go_on_from_notes_without_any_bytes(algorithm, part):
    data = content(4 * CHUNK + 9)
    checksum = composite(algorithm, data, part) if part else flat(algorithm, data)
    before, after = verifier_for(entry_of(data, checksum)), verifier_for(entry_of(data, checksum))
    for index in range(chunk_count(len(data))):
        assert after.restore(index, before.take(index, chunk_of(data, index)))
    after.finish()


def test_a_note_of_a_damaged_chunk_does_not_pass():
    data = content(3 * CHUNK)
    verifier = verifier_for(entry_of(data, flat(Algorithm.CRC32C, data)))
    for index in range(3):
        verifier.restore(index, "12345678")
    with pytest.raises(SourceCorrupt):
        verifier.finish()


@MANY
@given(note=st.one_of(st.text(), st.sampled_from(["", "x", "1,2", ",", "-1", "1" * 40])))
def test_a_note_that_makes_no_sense_asks_for_the_bytes_or_fails_the_check(note):
    data = content(CHUNK)
    verifier = verifier_for(entry_of(data, flat(Algorithm.CRC64NVME, data)))
    if verifier.restore(0, note):
        with pytest.raises(SourceCorrupt):
            verifier.finish()


@pytest.mark.parametrize("algorithm", [a for a in EVERY if not a.combinable])
def test_hashes_that_need_order_say_so_and_can_not_resume_from_notes(algorithm):
    verifier = verifier_for(entry_of(b"data", flat(algorithm, b"data")))
    assert verifier.in_order
    assert not verifier.restore(0, "")


def test_an_entry_that_is_only_pinned_accepts_anything_in_any_order():
    verifier = verifier_for(entry_of(b"data", None))
    assert not verifier.in_order
    assert verifier.restore(0, verifier.take(0, memoryview(b"data")))
    verifier.finish()


@pytest.mark.parametrize("algorithm", EVERY)
def test_real_chunks_and_s3_parts_fit(algorithm, monkeypatch):
    monkeypatch.setattr(treehash, "CHUNK", 16 * 1024 * 1024)
    data, part = bytes(17_000_001), 5 * 1024 * 1024
    if algorithm is Algorithm.GIT_SHA1:
        verify(data, flat(algorithm, data))
    elif algorithm in (Algorithm.CRC32C, Algorithm.CRC64NVME):  # bit by bit would take minutes: check the cuts instead
        verifier = verifier_for(
            entry_of(data, Checksum(algorithm, "0" * 2 * algorithm.size, ((part, 3), (len(data) - 3 * part, 1))))
        )
        assert len(verifier.take(0, chunk_of(data, 0)).split(",")) == 4
    else:
        verify(data, composite(algorithm, data, part))
