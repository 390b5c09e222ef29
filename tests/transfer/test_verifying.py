"""Every algorithm, flat and composite, against values computed another way; chunks of 64 bytes, so that all is quick."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.core import treehash
from csi_model.core.checksum import Algorithm, Checksum
from csi_model.core.treehash import chunk_count
from csi_model.errors import SourceCorrupt
from csi_model.transfer.verifying import check, verifier_for
from tests.transfer.checksums import (
    CHUNK,
    COMPOSITE,
    CRCS,
    EVERY,
    MANY,
    WITHIN,
    composite,
    content,
    entry_of,
    flat,
    going_on,
    raw,
    take,
    verify,
)

SIZES = [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5]


@pytest.fixture(autouse=True)
def tiny_chunks(monkeypatch):
    monkeypatch.setattr(treehash, "CHUNK", CHUNK)


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
@given(
    size=st.integers(1, 4 * CHUNK),
    part=st.integers(0, 2 * CHUNK),
    algorithm=st.sampled_from(EVERY),
    blocks=st.lists(st.integers(1, CHUNK), min_size=1, max_size=5),
)
def test_blocks_of_any_size_give_the_same_result(size, part, algorithm, blocks):
    data = content(size)
    checksum = composite(algorithm, data, part) if part and algorithm in COMPOSITE else flat(algorithm, data)
    verify(data, checksum, blocks=blocks)
    check(entry_of(data, checksum), memoryview(data))


@MANY
@given(
    size=st.integers(1, 4 * CHUNK),
    algorithm=st.sampled_from(COMPOSITE),
    part=st.sampled_from([0, *WITHIN]),
    drawn=st.data(),
)
def test_any_order_and_any_notes_give_the_same_result(size, algorithm, part, drawn):
    data = content(size)
    checksum = composite(algorithm, data, part) if part else flat(algorithm, data)
    before, after = verifier_for(entry_of(data, checksum)), verifier_for(entry_of(data, checksum))
    if after.in_order:
        return
    for index in drawn.draw(st.permutations(range(chunk_count(size)))):
        if drawn.draw(st.booleans()):
            assert after.restore(index, take(before, data, index))
        else:
            take(after, data, index)
    after.finish()


@pytest.mark.parametrize("algorithm", EVERY)
def test_a_file_in_memory_is_checked_in_one_go(algorithm):
    data = content(3 * CHUNK + 5)
    check(entry_of(data, flat(algorithm, data)), memoryview(data))
    with pytest.raises(SourceCorrupt):
        check(entry_of(data, flat(algorithm, b"other")), memoryview(data))


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
    going_on(data, composite(algorithm, data, part) if part else flat(algorithm, data)).finish()


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
def test_flat_hashes_need_order_say_so_and_can_not_resume_from_notes(algorithm):
    verifier = verifier_for(entry_of(b"data", flat(algorithm, b"data")))
    assert verifier.in_order
    assert not verifier.restore(0, "")


def test_an_entry_that_is_only_pinned_accepts_anything_in_any_order():
    verifier = verifier_for(entry_of(b"data", None))
    assert not verifier.in_order
    assert verifier.restore(0, take(verifier, b"data", 0))
    verifier.finish()


@pytest.mark.parametrize("algorithm", EVERY)
def test_real_chunks_and_s3_parts_fit(algorithm, monkeypatch):
    monkeypatch.setattr(treehash, "CHUNK", 16 * 1024 * 1024)
    data, part = bytes(17_000_001), 5 * 1024 * 1024
    if algorithm is Algorithm.GIT_SHA1:
        verify(data, flat(algorithm, data), blocks=[1024 * 1024])
    elif algorithm in (Algorithm.CRC32C, Algorithm.CRC64NVME):  # bit by bit would take minutes: check the cuts instead
        verifier = verifier_for(
            entry_of(data, Checksum(algorithm, "0" * 2 * algorithm.size, ((part, 3), (len(data) - 3 * part, 1))))
        )
        assert len(take(verifier, data, 0, [1024 * 1024]).split(",")) == 4
    else:
        verify(data, composite(algorithm, data, part), blocks=[1024 * 1024])
