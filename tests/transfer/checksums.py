"""What the verifiers' tests share: checksums computed another way, and how bytes go through a verifier.

For chunks of 64 bytes: the modules that use this set them.
"""

import hashlib
import itertools
import random
import zlib

from hypothesis import HealthCheck, settings

from csi_model.core.checksum import Algorithm, Checksum
from csi_model.core.manifest import Entry
from csi_model.core.treehash import chunk_count, chunk_range
from csi_model.transfer.verifying import verifier_for

CHUNK = 64
EVERY = list(Algorithm)
COMPOSITE = [algorithm for algorithm in EVERY if algorithm is not Algorithm.GIT_SHA1]
CRCS = [algorithm for algorithm in EVERY if algorithm.combinable]
HASHES = [algorithm for algorithm in COMPOSITE if not algorithm.combinable]
WITHIN = [1, 16, 32, CHUNK]  # part sizes of which no part lies in two chunks
ACROSS = [7, 40, CHUNK - 1, CHUNK + 3, 2 * CHUNK]
MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


def reflected_crc(data, polynomial, bits):
    """A CRC bit by bit, as textbooks have it."""
    ones = (1 << bits) - 1
    value = ones
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
    return (value ^ ones).to_bytes(bits // 8, "big")


def raw(algorithm, data):
    match algorithm:
        case Algorithm.CRC32:
            return zlib.crc32(data).to_bytes(4, "big")
        case Algorithm.CRC32C:
            return reflected_crc(data, 0x82F63B78, 32)
        case Algorithm.CRC64NVME:
            return reflected_crc(data, 0x9A6C9329AC4BC9B5, 64)
        case Algorithm.GIT_SHA1:
            return hashlib.sha1(f"blob {len(data)}\0".encode() + data).digest()
    return hashlib.new(algorithm.value, data).digest()


def flat(algorithm, data):
    return Checksum(algorithm, raw(algorithm, data).hex())


def composite(algorithm, data, part):
    """The checksum of parts of one size, as uploads have it: the last one may be shorter."""
    whole, rest = divmod(len(data), part)
    return composite_of(algorithm, data, [part] * whole + [rest] * bool(rest))


def composite_of(algorithm, data, sizes):
    ends = list(itertools.accumulate(sizes))
    values = [raw(algorithm, data[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
    parts = tuple((size, len(list(same))) for size, same in itertools.groupby(sizes))
    return Checksum(algorithm, raw(algorithm, b"".join(values)).hex(), parts)


def content(size):
    return random.Random(size).randbytes(size)


def entry_of(data, checksum):
    return Entry("model.safetensors", len(data), "key", "pin", checksum)


def chunk_of(data, index):
    return memoryview(data)[slice(*chunk_range(index, len(data)))]


def blocks_of(view, lengths):
    """Cut a view into blocks of the given lengths, which repeat."""
    position = 0
    for length in itertools.cycle(lengths):
        if position >= len(view):
            return
        yield view[position : position + length]
        position += length


def take(verifier, data, index, blocks=(CHUNK,)):
    """Give a verifier one chunk in blocks; returns the note."""
    piece = verifier.piece(index)
    for block in blocks_of(chunk_of(data, index), blocks):
        piece.update(block)
    return verifier.landed(index, piece)


def verify(data, checksum, *, order=None, blocks=(CHUNK,)):
    verifier = verifier_for(entry_of(data, checksum))
    if verifier.in_order:
        for block in blocks_of(memoryview(data), blocks):
            verifier.feed(block)
    else:
        for index in order or range(chunk_count(len(data))):
            take(verifier, data, index, blocks)
    verifier.finish()


def going_on(data, checksum):
    """A verifier that has taken all chunks in from the notes of another one."""
    before, after = verifier_for(entry_of(data, checksum)), verifier_for(entry_of(data, checksum))
    for index in range(chunk_count(len(data))):
        assert after.restore(index, take(before, data, index))
    return after
