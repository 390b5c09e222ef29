"""Scrub: read staged trees again and compare every chunk with its digest.

Reads past the page cache where the file system allows it, so that looking for damage doesn't push out what serving
pods have in memory.
"""

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from csi_model.core import treehash
from csi_model.core.treehash import chunk_count, chunk_digest, chunk_range, combine
from csi_model.store.store import Store
from csi_model.store.trees import EMPTY


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What was found in one file of a tree.

    Attributes:
        path: in the model.
        digest: what it should have; EMPTY for an empty file.
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
        skip: what was checked already (trees share inodes); those found well are added. Opaque: begin with an
            empty set.

    Yields:
        One result per file, also for files that were skipped or are well.

    Raises:
        OSError, SourceInvalid: the tree's index can't be read.

    """
    root = store.layout.tree_root(manifest)
    for path, digest in store.trees.index(manifest).items():
        try:
            status = (root / path).lstat()
            inode = f"{digest} {status.st_ino}"
            if digest == EMPTY:
                yield Scrubbed(path, digest, status.st_size, problem="should be empty" if status.st_size else "")
            elif inode in skip:
                yield Scrubbed(path, digest, status.st_size)
            else:
                result = _check(root / path, path, digest, store.blobs.chunk_digests(digest))
                if not result.problem:
                    skip.add(inode)
                yield result
        except OSError as error:
            yield Scrubbed(path, digest, 0, problem=f"can't be read: {error.strerror}")


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
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        _bypass_cache(descriptor)
        with mmap.mmap(-1, treehash.CHUNK) as buffer, memoryview(buffer) as view:
            offset = 0
            count = treehash.CHUNK
            while count == treehash.CHUNK:
                count = _read_chunk(descriptor, view, offset)
                if count:
                    yield chunk_digest(view[:count])
                offset += count
    finally:
        os.close(descriptor)


def _bypass_cache(descriptor: int) -> None:
    """Read the disk itself from now on, where the file system can (tmpfs and some network file systems can't)."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
        os.preadv(descriptor, [mmap.mmap(-1, mmap.PAGESIZE)], 0)
        return
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


def _read_chunk(descriptor: int, view: memoryview, offset: int) -> int:
    """Read a chunk, or what is left of the file; direct reads come up short only at its end."""
    filled = 0
    while filled < treehash.CHUNK:
        count = os.preadv(descriptor, [view[filled:]], offset + filled)
        filled += count
        if count == 0 or count % mmap.PAGESIZE:
            break
    return filled
