"""What this machine allows: the link, the disk and the processors' time, measured in the same run as the tools.

``bound = min(link, disk, cores / summed processor seconds per byte)``. Receiving is measured with Python's sockets and
TLS: over TLS a program with a faster one can pass it.
"""

import ctypes
import hashlib
import mmap
import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from awscrt import checksums
from blake3 import blake3
from zlib_ng import zlib_ng

from bench.rows import GIB, MB, Row

_BLOCK = 16 * 1024 * 1024
_THREADS = 8
_HASHED = 512 * 1024 * 1024
_libc = ctypes.CDLL(None, use_errno=True)
_HASHES: dict[str, Callable[[Any], object]] = {
    "blake3": lambda view: blake3(view).digest(),
    "crc32": zlib_ng.crc32,
    "crc32c": checksums.crc32c,
    "crc64nvme": checksums.crc64nvme,
    "sha256": lambda view: hashlib.sha256(view).digest(),
}


@dataclass(frozen=True, slots=True)
class Disk:
    """What O_DIRECT writes reach: MB/s until durable, and processor seconds per GiB."""

    mb_per_s: float
    cpu_s_per_gib: float
    how: str


@dataclass(frozen=True, slots=True)
class Bound:
    """What limits one workload from one source. Rates are MB/s; costs are processor seconds per GiB."""

    workload: str
    source: str
    tls: bool
    link_mb_per_s: float
    disk_mb_per_s: float
    cores: int
    server_cost: float
    receive_cost: float
    hash_cost: float
    write_cost: float
    hashes: str

    @property
    def cores_mb_per_s(self) -> float:
        """What the processors' time allows when all of it goes into the least that must be done."""
        cost = self.server_cost + self.receive_cost + self.hash_cost + self.write_cost
        return self.cores / cost * GIB / MB

    @property
    def mb_per_s(self) -> float:
        """The bound."""
        return min(self.link_mb_per_s, self.disk_mb_per_s, self.cores_mb_per_s)

    @property
    def limited_by(self) -> str:
        """Which of the three it is."""
        terms = {"link": self.link_mb_per_s, "disk": self.disk_mb_per_s, "cores": self.cores_mb_per_s}
        return min(terms, key=lambda name: terms[name])

    def as_json(self) -> dict[str, Any]:
        """Return all of it, computed figures too."""
        return asdict(self) | {
            "cores_mb_per_s": self.cores_mb_per_s, "mb_per_s": self.mb_per_s, "limited_by": self.limited_by
        }  # fmt: skip


def bound_of(
    reader: Row, disks: Sequence[Disk], hash_costs: Mapping[str, float], hashes: Sequence[str], cores: int
) -> Bound | None:
    """Put a bound together; None if the null reader failed.

    Args:
        reader: the null reader's row.
        disks: what the disk took before, between and after the rounds; the median counts, as it does for tools.
        hash_costs: processor seconds per GiB by algorithm.
        hashes: the algorithms that have to run over each byte.
        cores: processors that client and server share.

    """
    if not reader.rounds:
        return None
    return Bound(
        workload=reader.workload,
        source=reader.source,
        tls=reader.tls,
        link_mb_per_s=reader.mb_per_s,
        disk_mb_per_s=median(disk.mb_per_s for disk in disks),
        cores=cores,
        server_cost=reader.server_cpu_s_per_gib,
        receive_cost=reader.cpu_s_per_gib,
        hash_cost=sum(hash_costs[name] for name in hashes),
        write_cost=median(disk.cpu_s_per_gib for disk in disks),
        hashes="+".join(hashes),
    )


def hash_costs() -> dict[str, float]:
    """Return processor seconds per GiB of each hash over blocks of 16 MiB, on one core."""
    block = memoryview(bytearray(os.urandom(_BLOCK)))
    return {name: _cost(digest, block) for name, digest in _HASHES.items()}


def _cost(digest: Callable[[Any], object], block: memoryview) -> float:
    digest(block)  # whatever is made at the first use
    start = time.process_time()
    for _ in range(_HASHED // _BLOCK):
        digest(block)
    return (time.process_time() - start) * GIB / _HASHED


def disk_speed(folder: Path, size: int) -> Disk:
    """Write ``size`` bytes with eight threads and O_DIRECT (else buffered) to the disk of a folder, until durable."""
    path = folder / "disk-speed"
    descriptor, how = _opened(path)
    buffer = mmap.mmap(-1, _BLOCK)  # page-aligned, as O_DIRECT wants it
    buffer.write(os.urandom(_BLOCK))
    try:
        _allocate(descriptor, size)
        blocks, cpu, start = count(), _cpu(), time.monotonic()
        with ThreadPoolExecutor(_THREADS) as pool:
            for future in [pool.submit(_write, descriptor, buffer, blocks, size) for _ in range(_THREADS)]:
                future.result()
        os.fsync(descriptor)
        seconds, used = time.monotonic() - start, _cpu() - cpu
    finally:
        os.close(descriptor)
        path.unlink()
        buffer.close()
    return Disk(size / seconds / MB, used * GIB / size, how)


def _write(descriptor: int, buffer: mmap.mmap, blocks: "count[int]", size: int) -> None:
    while (offset := next(blocks) * _BLOCK) < size:
        os.pwrite(descriptor, buffer, offset)


def _opened(path: Path) -> tuple[int, str]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        return os.open(path, flags | os.O_DIRECT, 0o600), "O_DIRECT"
    except OSError:
        return os.open(path, flags, 0o600), "buffered"  # tmpfs and others have no O_DIRECT


def _allocate(descriptor: int, size: int) -> None:
    # Not os.posix_fallocate, which writes every block where the filesystem has no fallocate
    _libc.fallocate(descriptor, 0, ctypes.c_long(0), ctypes.c_long(size))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
