"""The ledger of an ingest: which chunks are durable, with their digests.

A text file, a line per chunk: ``<index> <chunk digest> <note>|<guard>``, where the guard is a short hash of the line.
A line is written only after the chunk's bytes are durable. A torn or damaged line is ignored: its chunk is fetched
again. The note belongs to the caller (piecewise checksums).
"""

import os
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from csi_model.core.treehash import CHUNK_DIGEST_SIZE
from csi_model.store.durable import write_all

_GUARD = 4  # bytes


@dataclass(frozen=True, slots=True)
class Landed:
    """A durable chunk: its digest (32 bytes) and the caller's note."""

    digest: bytes
    note: str


class Ledger:
    """Appends lines to the open ledger of one ingest; not thread safe, its ingest locks."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self.landed: dict[int, Landed] = {}
        with open(self._descriptor, "rb", closefd=False) as stream:
            data = stream.read()
        for line in data.split(b"\n"):
            self._take(line)
        if data and not data.endswith(b"\n"):
            write_all(self._descriptor, b"\n")  # a torn last line must not swallow the next one

    def _take(self, line: bytes) -> None:
        body, _, guard = line.rpartition(b"|")
        if not body or guard != _guard(body):
            return
        try:
            index, digest, note = body.decode().split(" ", 2)
            raw = bytes.fromhex(digest)
            if len(raw) == CHUNK_DIGEST_SIZE:
                self.landed[int(index)] = Landed(raw, note)
        except ValueError:  # written by a future version: the chunk is fetched again
            return

    def append(self, chunks: dict[int, Landed]) -> None:
        """Record chunks whose bytes are durable already; durable itself when this returns."""
        lines = []
        for index, chunk in sorted(chunks.items()):
            body = f"{index} {chunk.digest.hex()} {chunk.note}".encode()
            lines.append(body + b"|" + _guard(body) + b"\n")
        write_all(self._descriptor, b"".join(lines))
        os.fdatasync(self._descriptor)
        self.landed.update(chunks)

    def close(self) -> None:
        os.close(self._descriptor)


def _guard(body: bytes) -> bytes:
    return blake3(body).hexdigest(_GUARD).encode()
