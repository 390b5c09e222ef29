"""The Digest: a tree hash over fixed chunks, so that any core can hash any chunk in any order.

``digest = BLAKE3(BLAKE3(chunk 0) ‖ BLAKE3(chunk 1) ‖ … ‖ size as 8 bytes, big endian)`` over chunks of 16 MiB.
The digests of single chunks are kept beside unfinished and finished bytes: a resumed transfer re-reads nothing,
and damage is found and repaired by the chunk. A flat hash can do neither, as its state can't be saved.
"""

import re
from collections.abc import Sequence

from blake3 import blake3

CHUNK = 16 * 1024 * 1024
"""Bytes in a chunk: large enough that per-chunk costs vanish, small enough that a few per stream fit in memory."""

CHUNK_DIGEST_SIZE = 32
"""Bytes in the digest of one chunk."""

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def chunk_count(size: int) -> int:
    """Return how many chunks ``size`` bytes have; an empty file has none."""
    return -(-size // CHUNK)


def chunk_range(index: int, size: int) -> tuple[int, int]:
    """Return the half-open byte range of chunk ``index`` in a file of ``size`` bytes."""
    start = index * CHUNK
    return start, min(start + CHUNK, size)


def chunk_length(index: int, size: int) -> int:
    """Return the bytes of chunk ``index`` in a file of ``size`` bytes."""
    start, end = chunk_range(index, size)
    return end - start


def chunk_digest(data: bytes | bytearray | memoryview) -> bytes:
    """Hash one chunk (at most CHUNK bytes); releases the interpreter lock while it does."""
    return blake3(data).digest()


def combine(chunk_digests: Sequence[bytes], size: int) -> str:
    """Return the Digest (64 hex digits) of a file from its chunks' digests, in order, and its size in bytes.

    Raises:
        ValueError: the size is below zero, or the number or length of the digests doesn't fit.

    """
    if size < 0 or len(chunk_digests) != chunk_count(size):
        raise ValueError(f"{len(chunk_digests)} chunk digests for {size} bytes, expected {chunk_count(size)}")
    if any(len(digest) != CHUNK_DIGEST_SIZE for digest in chunk_digests):
        raise ValueError(f"a chunk's digest has {CHUNK_DIGEST_SIZE} bytes")
    return blake3(b"".join(chunk_digests) + size.to_bytes(8, "big")).hexdigest()


def digest_of(data: bytes) -> str:
    """Return the Digest of bytes in memory."""
    chunks = [data[slice(*chunk_range(i, len(data)))] for i in range(chunk_count(len(data)))]
    return combine([chunk_digest(chunk) for chunk in chunks], len(data))


def is_digest(text: str) -> bool:
    """Tell whether a text has the form of a Digest (it is used in paths: 64 lower-case hex digits, nothing else)."""
    return _DIGEST.match(text) is not None
