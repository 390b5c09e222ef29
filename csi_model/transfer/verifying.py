"""Verifiers: check an Entry's bytes against the source's Checksum on the way, without a second read.

Most checksums are made of pieces that can be summed in any order: CRCs, and hashes of parts that lie within a chunk.
Their sums go into the ledger as the chunk's note, so a resumed transfer re-reads nothing. The others need the bytes in
order, and their state can't be saved: the transfer hands chunks over in order, and a resume reads the durable ones
back from the disk.
"""

import itertools
from bisect import bisect_right
from typing import Protocol

from csi_model.core.checksum import Algorithm, Checksum
from csi_model.core.manifest import Entry
from csi_model.core.treehash import chunk_count, chunk_range
from csi_model.errors import SourceCorrupt
from csi_model.transfer.summing import Piece, arithmetic, new_hash, unsummed


class Verifier(Protocol):
    """Checks one Entry.

    Attributes:
        in_order: whether it wants all bytes by :meth:`feed`, in order, one call at a time; else by pieces.

    """

    in_order: bool

    def piece(self, index: int) -> Piece:
        """Begin a chunk; several may be under way in different threads."""

    def landed(self, index: int, piece: Piece) -> str:
        """Take a whole chunk in; returns a note that :meth:`restore` understands."""

    def restore(self, index: int, note: str) -> bool:
        """Take a chunk in from its note; False if that isn't possible and the bytes are needed."""

    def feed(self, view: memoryview) -> None:
        """Take the file's next bytes in."""

    def finish(self) -> None:
        """Compare.

        Raises:
            SourceCorrupt: the bytes aren't what the source said; the text says which file, which range and what was
                expected.

        """


def verifier_for(entry: Entry) -> Verifier:
    """Return the verifier for an entry's Checksum; one that accepts everything if it is only pinned."""
    checksum = entry.checksum
    if checksum is None:
        return Unchecked()
    if checksum.algorithm.combinable or _fits_chunks(checksum):
        return Piecewise(entry, checksum)
    return InOrder(entry, checksum)


def check(entry: Entry, view: memoryview) -> None:
    """Check an entry whose bytes are all in memory; raises as :meth:`Verifier.finish`."""
    verifier = verifier_for(entry)
    if verifier.in_order:
        verifier.feed(view)
    else:
        for index in range(chunk_count(entry.size)):
            piece = verifier.piece(index)
            piece.update(view[slice(*chunk_range(index, entry.size))])
            verifier.landed(index, piece)
    verifier.finish()


def _fits_chunks(checksum: Checksum) -> bool:
    """Tell whether each part lies within one chunk: then parts can be hashed in any order."""
    chunk, offset = chunk_range(0, 1 << 62)[1], 0
    for size, count in checksum.parts:
        aligned = chunk % size == 0 and offset % size == 0
        if not aligned and offset % chunk + size * count > chunk:
            return False
        offset += size * count
    return checksum.composite


class _Pieceless:
    """What a verifier does that learns nothing from pieces."""

    def piece(self, index: int) -> Piece:  # noqa: ARG002 - the contract's signature
        return unsummed()

    def landed(self, index: int, piece: Piece) -> str:  # noqa: ARG002 - the contract's signature
        return ""


class Unchecked(_Pieceless):
    """For entries of which the source says nothing that can be checked."""

    in_order = False

    def restore(self, index: int, note: str) -> bool:  # noqa: ARG002 - the contract's signature
        return True

    def feed(self, view: memoryview) -> None:
        """Need nothing."""

    def finish(self) -> None:
        return


class Piecewise:
    """Sums of pieces in any order: each chunk is cut at part boundaries; of a CRC, neighbours are combined."""

    in_order = False

    def __init__(self, entry: Entry, checksum: Checksum) -> None:
        self._entry = entry
        self._checksum = checksum
        self._new, self._combine = arithmetic(checksum.algorithm)
        self._ends = [end for _, end in checksum.part_ranges(entry.size)]
        self._pieces: dict[int, list[bytes]] = {}

    def _cuts(self, index: int) -> list[tuple[int, int]]:
        """Return the pieces of a chunk as half-open ranges of the file."""
        start, end = chunk_range(index, self._entry.size)
        inner = itertools.takewhile(lambda cut: cut < end, self._ends[bisect_right(self._ends, start) :])
        return list(itertools.pairwise([start, *inner, end]))

    def piece(self, index: int) -> Piece:
        base = chunk_range(index, self._entry.size)[0]
        return Piece([end - base for _, end in self._cuts(index)], self._new)

    def landed(self, index: int, piece: Piece) -> str:
        self._pieces[index] = piece.values()
        return ",".join(value.hex() for value in self._pieces[index])

    def restore(self, index: int, note: str) -> bool:
        try:
            values = [bytes.fromhex(text) for text in note.split(",")]
        except ValueError:
            return False
        if len(values) != len(self._cuts(index)) or {len(v) for v in values} != {self._checksum.algorithm.size}:
            return False
        self._pieces[index] = values
        return True

    def feed(self, view: memoryview) -> None:
        raise NotImplementedError("it takes pieces")

    def finish(self) -> None:
        parts: list[bytes | None] = [None] * len(self._ends)
        for index in range(chunk_count(self._entry.size)):
            for (start, end), value in zip(self._cuts(index), self._pieces[index], strict=True):
                part = bisect_right(self._ends, start)
                before = parts[part]
                parts[part] = value if before is None else self._combine(before, value, end - start)
        values = [value or b"" for value in parts]
        found = values[0]
        if self._checksum.composite:
            whole = self._new()
            whole.update(memoryview(b"".join(values)))
            found = whole.digest()
        _compare(self._entry, self._checksum, found.hex())


class InOrder(_Pieceless):
    """sha256, sha1, md5, git-sha1: flat over the file, or over each part and then over the parts' values."""

    in_order = True

    def __init__(self, entry: Entry, checksum: Checksum) -> None:
        self._entry = entry
        self._checksum = checksum
        self._parts = checksum.part_ranges(entry.size)
        self._end = next(self._parts)[1]
        self._position = 0
        self._done: list[bytes] = []
        self._hash = new_hash(checksum.algorithm)
        if checksum.algorithm is Algorithm.GIT_SHA1:
            self._hash.update(b"blob %d\0" % entry.size)

    def restore(self, index: int, note: str) -> bool:  # noqa: ARG002 - the state of these hashes can't be saved
        return False

    def feed(self, view: memoryview) -> None:
        while view:
            head, view = view[: self._end - self._position], view[self._end - self._position :]
            self._hash.update(head)
            self._position += len(head)
            if self._position == self._end and self._position < self._entry.size:
                self._done.append(self._hash.digest())
                self._hash = new_hash(self._checksum.algorithm)
                self._end = next(self._parts)[1]

    def finish(self) -> None:
        found = self._hash
        if self._checksum.composite:
            parts = [*self._done, self._hash.digest()]
            found = new_hash(self._checksum.algorithm)
            found.update(b"".join(parts))
        _compare(self._entry, self._checksum, found.hexdigest())


def _compare(entry: Entry, checksum: Checksum, found: str) -> None:
    if found != checksum.value:
        raise SourceCorrupt(
            f"{entry.path} arrived damaged: its {checksum.algorithm} over bytes 0-{entry.size - 1} is {found}, "
            f"the source says {checksum.value}; nothing of it was kept, it will be fetched anew"
        )
