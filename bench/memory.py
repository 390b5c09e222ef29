"""Memory and the page cache between two measurements: what is in it, and that it costs every run the same.

A hypervisor that takes back what its guest has free (free page reporting) makes the next user of that memory pay for
getting it again, some milliseconds of system time per MiB: measured, the first download after a pause used five times
the processor time of the next one. So memory is taken and given back right before each run.
"""

import mmap
import os
from collections.abc import Iterable
from pathlib import Path

from csi_model.store.pages import forget, resident

_COPIED = 256 * 1024  # bytes copied at once
_MAP_POPULATE = 0x8000  # include/uapi/asm-generic/mman.h; the module has the name on some platforms only


def take_memory(size: int) -> None:
    """Let ``size`` bytes of free memory be backed by real memory, half of what is free at most."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(fields["MemFree"].split()[0]) * 1024
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_POPULATE
    mmap.mmap(-1, max(mmap.PAGESIZE, min(size, free // 2)), flags=flags).close()


def files_below(folder: Path) -> list[Path]:
    """Return all files below a directory, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def forget_files(files: Iterable[Path]) -> None:
    """Take files out of the page cache."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            forget(descriptor)
        finally:
            os.close(descriptor)


def part_in_memory(files: Iterable[Path]) -> float:
    """Return which part of files is in the page cache, 0 to 1; 0 if they are empty."""
    total = cached = 0
    for path in files:
        size = path.stat().st_size
        descriptor = os.open(path, os.O_RDONLY)
        try:
            total += size
            cached += resident(descriptor, 0, size) if size else 0
        finally:
            os.close(descriptor)
    return cached / total if total else 0.0


def read_all(folder: Path) -> int:
    """Map all files below a directory, in the order of their paths, and copy every byte once; returns how many.

    Into a buffer that stays in the processor's cache, as loaders copy to where a device fetches it. One byte of each
    page wouldn't do: that only maps pages that are in memory, without reading them.
    """
    total = 0
    scratch = memoryview(bytearray(_COPIED))
    for path in files_below(folder):
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            total += size
            if size:
                with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
                    for start in range(0, size, _COPIED):
                        piece = view[start : start + _COPIED]
                        scratch[: len(piece)] = piece
                        piece.release()
    return total
