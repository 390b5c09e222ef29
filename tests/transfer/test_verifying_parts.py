"""Composites of hashes: where each part lies within a chunk, parts are hashed in any order; chunks of 64 bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.core import treehash
from csi_model.errors import SourceCorrupt
from csi_model.transfer.verifying import InOrder, Piecewise, verifier_for
from tests.transfer.checksums import (
    ACROSS,
    CHUNK,
    COMPOSITE,
    HASHES,
    MANY,
    WITHIN,
    chunk_of,
    composite,
    composite_of,
    content,
    entry_of,
    going_on,
    raw,
    take,
    verify,
)


@pytest.fixture(autouse=True)
def tiny_chunks(monkeypatch):
    monkeypatch.setattr(treehash, "CHUNK", CHUNK)


@pytest.mark.parametrize(
    ("sizes", "kind"),
    [
        *[([part] * 10, Piecewise) for part in WITHIN],
        *[([part] * 10, InOrder) for part in ACROSS],
        ([CHUNK, 10, 20, CHUNK - 30, 5], Piecewise),
        ([5], Piecewise),
        ([CHUNK - 1, 1, CHUNK], Piecewise),
        ([CHUNK - 1, 2], InOrder),
        ([16, CHUNK], InOrder),
        ([32, 16, 32], InOrder),
        ([32, 16, 16, 32], Piecewise),
    ],
)
@pytest.mark.parametrize("algorithm", HASHES)
def test_order_is_needed_where_a_part_lies_in_two_chunks(algorithm, sizes, kind):
    data = content(sum(sizes))
    checksum = composite_of(algorithm, data, sizes)
    assert type(verifier_for(entry_of(data, checksum))) is kind
    verify(data, checksum)


@MANY
@given(sizes=st.lists(st.integers(1, CHUNK + 2), min_size=1, max_size=12), algorithm=st.sampled_from(COMPOSITE))
def test_parts_of_any_sizes_give_the_right_value(sizes, algorithm):
    data = content(sum(sizes))
    verify(data, composite_of(algorithm, data, sizes))


@pytest.mark.parametrize("part", WITHIN)
@pytest.mark.parametrize("algorithm", HASHES)
def test_hashes_of_parts_within_chunks_take_chunks_in_any_order(algorithm, part):
    data = content(5 * CHUNK + 1)
    verify(data, composite(algorithm, data, part), order=[3, 0, 5, 2, 4, 1])


@pytest.mark.parametrize("algorithm", COMPOSITE)
def test_pieces_of_several_chunks_may_be_under_way_at_once(algorithm):
    data = content(3 * CHUNK)
    verifier = verifier_for(entry_of(data, composite(algorithm, data, 16)))
    pieces = [verifier.piece(index) for index in range(3)]
    for start in range(0, CHUNK, 10):
        for index, piece in enumerate(pieces):
            piece.update(chunk_of(data, index)[start : start + 10])
    for index in (2, 0, 1):
        verifier.landed(index, pieces[index])
    verifier.finish()


@pytest.mark.parametrize("part", WITHIN)
@pytest.mark.parametrize("algorithm", HASHES)
def test_hashes_of_parts_within_chunks_go_on_from_notes_without_any_bytes(algorithm, part):
    data = content(4 * CHUNK + 9)
    going_on(data, composite(algorithm, data, part)).finish()


@pytest.mark.parametrize("algorithm", HASHES)
def test_notes_of_other_bytes_do_not_pass(algorithm):
    data, other = content(2 * CHUNK), bytes(2 * CHUNK)
    checksum = composite(algorithm, data, 16)
    before, after = verifier_for(entry_of(other, checksum)), verifier_for(entry_of(data, checksum))
    for index in range(2):
        after.restore(index, take(before, other, index))
    with pytest.raises(SourceCorrupt):
        after.finish()


@pytest.mark.parametrize("algorithm", HASHES)
def test_a_note_with_too_few_parts_asks_for_the_bytes(algorithm):
    data = content(2 * CHUNK)
    verifier = verifier_for(entry_of(data, composite(algorithm, data, 16)))
    assert not verifier.restore(0, raw(algorithm, b"").hex())
