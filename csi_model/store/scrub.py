"""Scrub: read staged trees again and compare every chunk with its digest.

Reads past the page cache where the file system allows it, so that looking for damage doesn't push out what serving
pods have in memory.
"""

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from csi_model.core.treehash import CHUNK, chunk_count, chunk_digest, chunk_range, combine
from csi_model.store.store import Store


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What was found in one file of a tree.

    Attributes:
        path: in the model.
        digest: what it should have; ``-`` for an empty file.
        size: bytes on disk.
        damaged: half-open byte ranges that aren't what they should be; the whole file if it can't be told apart.
        problem: in words; empty if all is well.

    """

    path: str
    digest: str
    size: int
    damaged: tuple[tuple[int, int], ...] = ()
    problem: str = ""


def scrub(store: Store, manifest: str, *, skip: set[str]) -> Iterator[Scrubbed]:
    """Check every file of a staged tree.

    Args:
        store: open.
        manifest: the tree's Manifest digest.
        skip: Digests that were checked already (trees share blobs); those found well are added.

    Yields:
        One result per file, also for files that were skipped or are well.

    Raises:
        OSError, SourceInvalid: the tree's index can't be read.

    """
    root = store.layout.tree_root(manifest)
    for path, digest in store.trees.index(manifest).items():
        file = root / path
        try:
            status = file.lstat()
            linked = status.st_nlink > 1
            if digest == "-" or (digest in skip and linked):
                yield Scrubbed(path, digest, status.st_size)
                continue
            result = _check(file, path, digest, store.blobs.chunk_digests(digest))
        except OSError as error:
            yield Scrubbed(path, digest, 0, ((0, 0),), f"can't be read: {error.strerror}")
            continue
        if not result.problem and linked:
            skip.add(digest)
        yield result


def _check(file: Path, path: str, digest: str, expected: list[bytes] | None) -> Scrubbed:
    found = list(_chunk_digests(file))
    size = file.stat().st_size
    if len(found) == chunk_count(size) and combine(found, size) == digest:
        return Scrubbed(path, digest, size)
    damaged: tuple[tuple[int, int], ...] = ((0, size),)
    if expected is not None and len(expected) == len(found):
        ranges = [
            chunk_range(i, size) for i, pair in enumerate(zip(expected, found, strict=True)) if pair[0] != pair[1]
        ]
        damaged = tuple(ranges) or damaged
    places = ", ".join(f"{start}-{end - 1}" for start, end in damaged[:4])
    return Scrubbed(path, digest, size, damaged, f"damaged in bytes {places}")


def _chunk_digests(file: Path) -> Iterator[bytes]:
    """Yield the digests of a file's chunks as they are on the disk."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_DIRECT | os.O_NOFOLLOW)
    except OSError:  # tmpfs and some network file systems have no O_DIRECT
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        with mmap.mmap(-1, CHUNK) as buffer, memoryview(buffer) as view:
            offset = 0
            while count := _read_chunk(descriptor, view, offset):
                yield chunk_digest(view[:count])
                offset += count
    finally:
        os.close(descriptor)


def _read_chunk(descriptor: int, view: memoryview, offset: int) -> int:
    """Read a chunk, or what is left of the file; direct reads may come up short only at its end."""
    filled = 0
    while filled < CHUNK:
        count = os.preadv(descriptor, [view[filled:]], offset + filled)
        filled += count
        if count == 0 or count % mmap.PAGESIZE:
            break
    return filled
