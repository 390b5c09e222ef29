"""Sums: what checksums are computed with, a piece at a time.

A checksum that is made of parts is cut where they end; the sums of neighbouring pieces of a CRC can be combined.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Protocol

from zlib_ng.zlib_ng import crc32

from csi_model.core.checksum import Algorithm


class Sum(Protocol):
    """The running sum of some neighbouring bytes."""

    def update(self, view: memoryview, /) -> None:
        """Take bytes in."""

    def digest(self) -> bytes:
        """Return the raw value."""


class Piece:
    """A chunk on its way through a verifier, cut where the checksum's parts end.

    Args:
        ends: lengths from the chunk's beginning at which its pieces end, in order.
        new: makes an empty sum.

    """

    def __init__(self, ends: list[int], new: Callable[[], Sum]) -> None:
        self._ends = iter(ends)
        self._end = next(self._ends, 0)
        self._new = new
        self._position = 0
        self._sums = [new()] if ends else []

    def update(self, view: memoryview) -> None:
        """Take the chunk's next bytes in."""
        while self._sums and view:
            head, view = view[: self._end - self._position], view[self._end - self._position :]
            self._sums[-1].update(head)
            self._position += len(head)
            if view:
                self._end = next(self._ends)
                self._sums.append(self._new())

    def values(self) -> list[bytes]:
        """Return the sum of each piece, once all bytes are in."""
        return [piece.digest() for piece in self._sums]


def unsummed() -> Piece:
    """Return the piece of a verifier that learns nothing from pieces."""
    return Piece([], hashlib.sha256)


def new_hash(algorithm: Algorithm) -> Any:
    """Begin a hash; of git's, without the header that it wants first."""
    name = "sha1" if algorithm is Algorithm.GIT_SHA1 else algorithm.value
    return hashlib.new(name, usedforsecurity=False)


def arithmetic(algorithm: Algorithm) -> tuple[Callable[[], Sum], Callable[[bytes, bytes, int], bytes]]:
    """Return how a sum begins, and how the sums of neighbours are combined (second one's length in bytes)."""
    if not algorithm.combinable:
        return lambda: new_hash(algorithm), _cannot_combine
    import awscrt.checksums as crc  # noqa: PLC0415 - costs time that a starting agent doesn't have

    # awscrt's own crc32 runs at 3 GB/s, the others at 50; zlib-ng's at 50 (measured, 1 MiB blocks).
    add = crc32 if algorithm is Algorithm.CRC32 else getattr(crc, algorithm.value)
    join, size = getattr(crc, f"combine_{algorithm.value}"), algorithm.size

    class Crc:
        def __init__(self) -> None:
            self._value = 0

        def update(self, view: memoryview) -> None:
            self._value = add(view, self._value)

        def digest(self) -> bytes:
            return self._value.to_bytes(size, "big")

    def combine(before: bytes, value: bytes, length: int) -> bytes:
        joined: int = join(int.from_bytes(before, "big"), int.from_bytes(value, "big"), length)
        return joined.to_bytes(size, "big")

    return Crc, combine


def _cannot_combine(*_: object) -> bytes:
    raise ValueError("the hash of two pieces can't be told from theirs")
