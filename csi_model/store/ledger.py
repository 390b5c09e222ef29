"""The ledger of an ingest: which chunks are durable, with their digests.

A text file, a line per chunk: ``<index> <chunk digest> <note>|<guard>``, where the guard is a short hash of the line.
A line is written only after the chunk's bytes are durable. A torn or damaged line is ignored: its chunk is fetched
again. The note belongs to the caller (piecewise checksums).
"""

import os
from pathlib import Path

from blake3 import blake3

from csi_model.core.treehash import CHUNK_DIGEST_SIZE
from csi_model.store.base import Landed
from csi_model.store.durable import write_all

_GUARD = 4  # bytes


class Ledger:
    """Appends lines to the open ledger of one ingest; not thread safe, its ingest locks."""

    def __init__(self, path: Path) -> None:
        self.landed: dict[int, Landed] = {}
        data = path.read_bytes() if path.exists() else b""
        for line in data.split(b"\n"):
            self._take(line)
        self._torn = bool(data) and not data.endswith(b"\n")
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

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
        lines = [b"\n"] if self._torn else []  # a torn line of an earlier life must not swallow the next one
        for index, chunk in sorted(chunks.items()):
            body = f"{index} {chunk.digest.hex()} {chunk.note}".encode()
            lines.append(body + b"|" + _guard(body) + b"\n")
        write_all(self._descriptor, b"".join(lines))
        os.fdatasync(self._descriptor)
        self._torn = False
        self.landed.update(chunks)

    def close(self) -> None:
        os.close(self._descriptor)


def _guard(body: bytes) -> bytes:
    return blake3(body).hexdigest(_GUARD).encode()
