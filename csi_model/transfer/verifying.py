"""Verifiers: check an Entry's bytes against the source's Checksum on the way, without a second read.

CRCs are computed per chunk in any order and combined at the end; their pieces go into the ledger as the chunk's note,
so a resumed transfer re-reads nothing. The other algorithms need the bytes in order, and their state can't be saved:
for them the transfer hands chunks over in order, and a resume reads the durable ones back from the disk.
"""

import hashlib
import itertools
from bisect import bisect_right
from typing import Any, Protocol

from csi_model.core.checksum import Algorithm, Checksum
from csi_model.core.manifest import Entry
from csi_model.core.treehash import chunk_count, chunk_range
from csi_model.errors import SourceCorrupt


class Verifier(Protocol):
    """Checks one Entry.

    Attributes:
        in_order: whether :meth:`take` must be called in the chunks' order, one at a time; else from any thread.

    """

    in_order: bool

    def take(self, index: int, view: memoryview) -> str:
        """Take a chunk's bytes in; returns a note that :meth:`restore` understands."""

    def restore(self, index: int, note: str) -> bool:
        """Take a chunk in from its note; False if that isn't possible and the bytes are needed."""

    def finish(self) -> None:
        """Compare.

        Raises:
            SourceCorrupt: the bytes aren't what the source said; the text says which file and what was expected.

        """


def verifier_for(entry: Entry) -> Verifier:
    """Return the verifier for an entry's Checksum; one that accepts everything if it is only pinned."""
    if entry.checksum is None:
        return Unchecked()
    if entry.checksum.algorithm.combinable:
        return Piecewise(entry, entry.checksum)
    return InOrder(entry, entry.checksum)


class Unchecked:
    """For entries of which the source says nothing that can be checked."""

    in_order = False

    def take(self, index: int, view: memoryview) -> str:  # noqa: ARG002 - the contract's signature
        return ""

    def restore(self, index: int, note: str) -> bool:  # noqa: ARG002 - the contract's signature
        return True

    def finish(self) -> None:
        return


class Piecewise:
    """CRCs, flat or composite: each chunk is cut at part boundaries, each piece summed, neighbours combined."""

    in_order = False

    def __init__(self, entry: Entry, checksum: Checksum) -> None:
        import awscrt.checksums as crc  # noqa: PLC0415 - costs time that a starting agent doesn't have

        self._entry = entry
        self._checksum = checksum
        self._sum = getattr(crc, checksum.algorithm.value)
        self._combine = getattr(crc, f"combine_{checksum.algorithm.value}")
        self._ends = [end for _, end in checksum.part_ranges(entry.size)]
        self._pieces: dict[int, list[int]] = {}

    def _cuts(self, index: int) -> list[tuple[int, int]]:
        """Return the pieces of a chunk as half-open ranges of the file."""
        start, end = chunk_range(index, self._entry.size)
        inner = itertools.takewhile(lambda cut: cut < end, self._ends[bisect_right(self._ends, start) :])
        return list(itertools.pairwise([start, *inner, end]))

    def take(self, index: int, view: memoryview) -> str:
        base = chunk_range(index, self._entry.size)[0]
        sums = [self._sum(view[start - base : end - base]) for start, end in self._cuts(index)]
        self._pieces[index] = sums
        return ",".join(f"{value:x}" for value in sums)

    def restore(self, index: int, note: str) -> bool:
        try:
            sums = [int(text, 16) for text in note.split(",")]
        except ValueError:
            return False
        limit = 1 << 8 * self._checksum.algorithm.size
        if len(sums) != len(self._cuts(index)) or not all(0 <= value < limit for value in sums):
            return False
        self._pieces[index] = sums
        return True

    def finish(self) -> None:
        size = self._checksum.algorithm.size
        parts: list[int | None] = [None] * len(self._ends)
        for index in range(chunk_count(self._entry.size)):
            for (start, end), value in zip(self._cuts(index), self._pieces[index], strict=True):
                part = bisect_right(self._ends, start)
                before = parts[part]
                parts[part] = value if before is None else self._combine(before, value, end - start)
        values = [(value or 0).to_bytes(size, "big") for value in parts]
        found = self._sum(b"".join(values)).to_bytes(size, "big") if self._checksum.composite else values[0]
        _compare(self._entry, self._checksum, found.hex())


class InOrder:
    """sha256, sha1, md5, git-sha1: flat over the file, or over each part and then over the parts' values."""

    in_order = True

    def __init__(self, entry: Entry, checksum: Checksum) -> None:
        self._entry = entry
        self._checksum = checksum
        self._parts = checksum.part_ranges(entry.size)
        self._end = next(self._parts)[1]
        self._done: list[bytes] = []
        self._hash = self._new()
        if checksum.algorithm is Algorithm.GIT_SHA1:
            self._hash.update(b"blob %d\0" % entry.size)

    def _new(self) -> Any:
        name = "sha1" if self._checksum.algorithm is Algorithm.GIT_SHA1 else self._checksum.algorithm.value
        return hashlib.new(name, usedforsecurity=False)

    def take(self, index: int, view: memoryview) -> str:
        start, end = chunk_range(index, self._entry.size)
        position = start
        while position < end:
            cut = min(end, self._end)
            self._hash.update(view[position - start : cut - start])
            position = cut
            if cut == self._end and cut < self._entry.size:
                self._done.append(self._hash.digest())
                self._hash = self._new()
                self._end = next(self._parts)[1]
        return ""

    def restore(self, index: int, note: str) -> bool:  # noqa: ARG002 - the state of these hashes can't be saved
        return False

    def finish(self) -> None:
        found = self._hash
        if self._checksum.composite:
            parts = [*self._done, self._hash.digest()]
            found = self._new()
            found.update(b"".join(parts))
        _compare(self._entry, self._checksum, found.hexdigest())


def _compare(entry: Entry, checksum: Checksum, found: str) -> None:
    if found != checksum.value:
        raise SourceCorrupt(
            f"{entry.path} arrived damaged: its {checksum.algorithm} over bytes 0-{entry.size - 1} is {found}, "
            f"the source says {checksum.value}; nothing of it was kept, it will be fetched anew"
        )
