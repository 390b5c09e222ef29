import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from csi_model.core import treehash
from csi_model.core.treehash import CHUNK, chunk_count, chunk_digest, chunk_range, combine, digest_of, is_digest


@given(st.integers(0, 10 * CHUNK))
def test_chunks_cover_a_file_without_gaps(size: int):
    ranges = [chunk_range(index, size) for index in range(chunk_count(size))]
    assert sum(end - start for start, end in ranges) == size
    assert all(0 < end - start <= CHUNK for start, end in ranges)
    assert [start for start, _ in ranges] == [0, *(end for _, end in ranges)][: len(ranges)]


@given(st.binary(max_size=100))
def test_the_digest_is_what_the_docstring_says(data: bytes):
    inner = blake3(data).digest() if data else b""
    assert digest_of(data) == blake3(inner + len(data).to_bytes(8, "big")).hexdigest()


def test_several_chunks(monkeypatch):
    monkeypatch.setattr(treehash, "CHUNK", 4)
    inner = b"".join(blake3(part).digest() for part in (b"abcd", b"efgh", b"i"))
    assert digest_of(b"abcdefghi") == blake3(inner + (9).to_bytes(8, "big")).hexdigest()


def test_the_size_counts():
    one = chunk_digest(b"x")
    assert combine([one], 1) != combine([one], 2)


def test_the_order_of_chunks_counts():
    one, other = chunk_digest(b"x"), chunk_digest(b"y")
    assert combine([one, other], 2 * CHUNK) != combine([other, one], 2 * CHUNK)


@pytest.mark.parametrize(
    ("digests", "size"),
    [
        ([], 1),
        ([b"x" * 32], 0),
        ([b"x" * 32], CHUNK + 1),
        ([b"x" * 31], 1),
        ([b"x" * 31, b"x" * 33], CHUNK + 1),
        ([], -1),
    ],
)
def test_digests_that_do_not_fit_are_refused(digests: list[bytes], size: int):
    with pytest.raises(ValueError, match=r"digest"):
        combine(digests, size)


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "0" * 64 + "\n", "A" * 64, "../" + "0" * 61])
def test_only_a_digest_has_the_form_of_one(text: str):
    assert not is_digest(text)
    assert is_digest(digest_of(b""))
