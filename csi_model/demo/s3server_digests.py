"""ETags and checksums as S3 makes them: of a whole object, or of the checksums of its parts."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

ALGORITHMS = ("crc64nvme", "crc32c", "crc32", "sha1", "sha256")
_BLOCK = 1024 * 1024
_WIDTHS = {"crc64nvme": 8, "crc32c": 4, "crc32": 4}


@dataclass(frozen=True, slots=True)
class Stated:
    """What the server will say about an object's bytes.

    Attributes:
        size: bytes.
        etag: without quotes.
        headers: the checksum and its type, by header name.
        parts: (size, checksum in base64) of each part; empty for an object in one piece.

    """

    size: int
    etag: str
    headers: dict[str, str]
    parts: list[tuple[int, str]]


class Readable(Protocol):
    """Where bytes are read from: a file, a socket."""

    def read(self, size: int, /) -> bytes:
        """Give at most ``size`` bytes; none at the end."""


class _Digests:
    """MD5 and one checksum over a stream of blocks."""

    def __init__(self, algorithm: str | None) -> None:
        self.md5 = hashlib.md5(usedforsecurity=False)
        self._hash = hashlib.new(algorithm, usedforsecurity=False) if algorithm in ("sha1", "sha256") else None
        self._width = _WIDTHS.get(algorithm or "", 0)
        self._crc = _crc(algorithm) if algorithm and self._width else None
        self._value = 0

    def update(self, block: bytes) -> None:
        self.md5.update(block)
        if self._hash is not None:
            self._hash.update(block)
        if self._crc is not None:
            self._value = self._crc(block, self._value)

    @property
    def checksum(self) -> bytes:
        return self._hash.digest() if self._hash is not None else self._value.to_bytes(self._width, "big")


def copy_stating(
    source: Readable, target: BinaryIO, size: int, *, checksum: str | None, part_size: int | None
) -> Stated:
    """Copy ``size`` bytes and state what they are; in parts if ``part_size`` is given.

    Raises:
        EOFError: the source ends early.

    """
    parts = []
    for part in _cut(size, part_size):
        digests = _Digests(checksum)
        for block in _blocks(source, part):
            target.write(block)
            digests.update(block)
        parts.append((part, digests))
    if part_size is None:
        digests = parts[0][1]
        headers = _headers(checksum, digests.checksum, "FULL_OBJECT") if checksum else {}
        return Stated(size, digests.md5.hexdigest(), headers, [])
    suffix = f"-{len(parts)}"
    etag = hashlib.md5(b"".join(d.md5.digest() for _, d in parts), usedforsecurity=False).hexdigest() + suffix
    if checksum is None:
        return Stated(size, etag, {}, [])
    outer = _Digests(checksum)
    outer.update(b"".join(digests.checksum for _, digests in parts))
    stated = [(part, _text(digests.checksum)) for part, digests in parts]
    return Stated(size, etag, _headers(checksum, outer.checksum, "COMPOSITE", suffix), stated)


def _headers(algorithm: str, value: bytes, kind: str, suffix: str = "") -> dict[str, str]:
    return {f"x-amz-checksum-{algorithm}": _text(value) + suffix, "x-amz-checksum-type": kind}


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _crc(algorithm: str) -> Callable[[bytes, int], int]:
    from awscrt import checksums  # noqa: PLC0415  (takes a while to load, and only writers need it)

    function: Callable[[bytes, int], int] = getattr(checksums, algorithm)
    return function


def _cut(size: int, part_size: int | None) -> list[int]:
    if part_size is None or not size:
        return [size]
    return [min(part_size, size - start) for start in range(0, size, part_size)]


def _blocks(source: Readable, size: int) -> Iterator[bytes]:
    while size:
        block = source.read(min(_BLOCK, size))
        if not block:
            raise EOFError(f"{size} bytes are missing")
        size -= len(block)
        yield block
