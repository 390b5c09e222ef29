"""Checksum: what the *source says* about an Entry's bytes.

Flat: the algorithm over all bytes. Composite: S3's checksum of checksums, the algorithm over the concatenated raw
checksums of the object's parts, so part boundaries belong to it. CRCs can be computed piecewise in any order and
combined; the others need the bytes (of each part) in order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Algorithm(StrEnum):
    """The algorithms that sources use."""

    SHA256 = "sha256"
    GIT_SHA1 = "git-sha1"
    SHA1 = "sha1"
    MD5 = "md5"
    CRC64NVME = "crc64nvme"
    CRC32C = "crc32c"
    CRC32 = "crc32"

    @property
    def combinable(self) -> bool:
        """Whether checksums of neighbouring pieces can be combined into that of the whole."""
        return self in (Algorithm.CRC64NVME, Algorithm.CRC32C, Algorithm.CRC32)

    @property
    def size(self) -> int:
        """Length of a raw value in bytes."""
        return _SIZES[self]


_HEX = frozenset("0123456789abcdef")
_SIZES = {
    Algorithm.SHA256: 32,
    Algorithm.GIT_SHA1: 20,
    Algorithm.SHA1: 20,
    Algorithm.MD5: 16,
    Algorithm.CRC64NVME: 8,
    Algorithm.CRC32C: 4,
    Algorithm.CRC32: 4,
}


@dataclass(frozen=True, slots=True)
class Checksum:
    """A source's statement about an Entry's bytes.

    Attributes:
        algorithm: which one.
        value: the raw value in lower-case hex (for CRCs: big-endian).
        parts: empty for a flat checksum; for a composite one the part sizes in bytes, in order, run-length
            encoded as (size, count) pairs that sum up to the Entry's size.

    """

    algorithm: Algorithm
    value: str
    parts: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if len(self.value) != 2 * self.algorithm.size or not _HEX.issuperset(self.value):
            raise ValueError(f"not a {self.algorithm} value in hex: {self.value[:80]!r}")
        if any(size <= 0 or count <= 0 for size, count in self.parts):
            raise ValueError("part sizes and counts are above zero")

    @property
    def composite(self) -> bool:
        """Whether this is a checksum of the parts' checksums."""
        return bool(self.parts)

    def part_ranges(self, size: int) -> Iterator[tuple[int, int]]:
        """Yield the half-open byte ranges of the parts; the whole file for a flat checksum."""
        if not self.parts:
            yield 0, size
            return
        start = 0
        for part, count in self.parts:
            for _ in range(count):
                yield start, start + part
                start += part

    def describes(self, size: int) -> bool:
        """Tell whether the parts add up to ``size`` bytes (a flat checksum describes any size)."""
        return not self.parts or sum(part * count for part, count in self.parts) == size
