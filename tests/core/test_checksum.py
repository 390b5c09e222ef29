import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.core.checksum import Algorithm, Checksum

RUNS = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 5)), min_size=1, max_size=5).map(tuple)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_value_has_the_algorithms_length(algorithm: Algorithm):
    Checksum(algorithm, "0a" * algorithm.size)
    for value in (
        "0a" * (algorithm.size + 1),
        "0A" * algorithm.size,
        "0g" * algorithm.size,
        "",
        " " * 2 * algorithm.size,
    ):
        with pytest.raises(ValueError, match=algorithm):
            Checksum(algorithm, value)


@pytest.mark.parametrize("parts", [((0, 1),), ((1, 0),), ((-1, -1),)])
def test_parts_are_above_zero(parts):
    with pytest.raises(ValueError, match="above zero"):
        Checksum(Algorithm.CRC32, "00000000", parts)


@given(RUNS)
def test_part_ranges_cover_the_file_without_gaps(parts):
    checksum = Checksum(Algorithm.CRC32, "00000000", parts)
    size = sum(size * count for size, count in parts)
    ranges = list(checksum.part_ranges(size))
    assert [start for start, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
    assert ranges[-1][1] == size
    assert len(ranges) == sum(count for _, count in parts)
    assert checksum.composite
    assert checksum.describes(size)
    assert not checksum.describes(size + 1)


def test_a_flat_checksum_is_one_part_of_any_size():
    checksum = Checksum(Algorithm.CRC32, "00000000")
    assert not checksum.composite
    assert list(checksum.part_ranges(7)) == [(0, 7)]
    assert checksum.describes(7)


def test_only_crcs_combine():
    assert {a for a in Algorithm if a.combinable} == {Algorithm.CRC32, Algorithm.CRC32C, Algorithm.CRC64NVME}
