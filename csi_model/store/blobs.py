"""Blobs: immutable bytes at rest, named by Digest, and the memo of what is known to be one.

A blob appears by one rename after its bytes are durable, and is never written again. Trees link to it.
"""

import errno
import os
import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from csi_model.core.manifest import Entry
from csi_model.core.treehash import CHUNK_DIGEST_SIZE, is_digest
from csi_model.store.durable import fsync_directory, write_file
from csi_model.store.identity import memo_names
from csi_model.store.layout import SMALL, Layout

_READ_ONLY = 0o444


class Blobs:
    """The blobs of one store. Methods raise OSError; the store translates."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._open_copy: dict[str, int] = {}  # digest → the copy that took the last link

    # what is known

    def find(self, origin: str, entry: Entry) -> str | None:
        """Return the Digest of an entry's bytes if they are here, else None."""
        for name in memo_names(origin, entry):
            try:
                digest = self._layout.known(name).read_text(encoding="ascii", errors="replace")
            except FileNotFoundError:
                continue
            if is_digest(digest) and self.has(digest, entry.size):
                return digest
        return None

    def has(self, digest: str, size: int) -> bool:
        """Tell whether a blob is here with the size that it should have."""
        try:
            return self._layout.blob(digest).stat().st_size == size
        except FileNotFoundError:
            return False

    def remember(self, origin: str, entries: Iterable[tuple[Entry, str]]) -> None:
        """Note which Digest entries turned out to have. Losing a note costs a second fetch and nothing else."""
        for entry, digest in entries:
            for name in memo_names(origin, entry):
                path = self._layout.known(name)
                temporary = path.parent / f".{token_hex(8)}"
                try:
                    temporary.write_text(digest, encoding="ascii")
                except FileNotFoundError:
                    path.parent.mkdir(mode=0o700, exist_ok=True)
                    temporary.write_text(digest, encoding="ascii")
                temporary.rename(path)

    # coming and going

    def adopt(self, files: Sequence[tuple[Path, str, bytes]]) -> None:
        """Make durable, sealed files visible as blobs.

        Args:
            files: path, Digest, concatenated chunk digests (empty: a single chunk). The paths are gone afterwards.

        """
        with self._lock:
            touched = set()
            for path, digest, chunks in files:
                blob = self._layout.blob(digest)
                if blob.exists():
                    path.unlink()
                    continue
                if not blob.parent.is_dir():
                    blob.parent.mkdir(mode=0o700)
                    touched.add(self._layout.blobs)
                if len(chunks) > CHUNK_DIGEST_SIZE:
                    write_file(self._layout.chunks(digest), chunks, mode=0o444)
                path.rename(blob)
                touched.add(blob.parent)
            for directory in touched:
                fsync_directory(directory)

    def place(self, digest: str, size: int, target: Path) -> None:
        """Give a blob's bytes a path in a tree being built: a hard link, or a copy for small files."""
        if size < SMALL:
            shutil.copyfile(self._layout.blob(digest), target)
            target.chmod(_READ_ONLY)
            os.utime(target, (0, 0))
            return
        copy = self._open_copy.get(digest, 0)
        while True:
            try:
                os.link(self._layout.blob(digest, copy), target)
            except FileNotFoundError:
                if copy == 0:
                    raise
                self._duplicate(digest, copy)
            except OSError as error:
                if error.errno != errno.EMLINK:
                    raise
                copy += 1
            else:
                self._open_copy[digest] = copy
                return

    def _duplicate(self, digest: str, copy: int) -> None:
        """Start a further file of the same bytes (ext4 allows 65,000 links to one)."""
        with self._lock:
            target = self._layout.blob(digest, copy)
            if target.exists():
                return
            temporary = self._layout.assembly / f"copy-{token_hex(8)}"
            shutil.copyfile(self._layout.blob(digest), temporary)
            temporary.chmod(_READ_ONLY)
            os.utime(temporary, (0, 0))
            descriptor = os.open(temporary, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            temporary.rename(target)
            fsync_directory(target.parent)

    def files_of(self, digest: str) -> list[Path]:
        """Return all files that have a digest's bytes."""
        blob = self._layout.blob(digest)
        return [path for path in blob.parent.glob(f"{blob.name}*") if not path.name.endswith(".chunks")]

    def chunk_digests(self, digest: str) -> list[bytes] | None:
        """Return the digests of a blob's chunks, or None if it has only one or they are lost."""
        try:
            raw = self._layout.chunks(digest).read_bytes()
        except FileNotFoundError:
            return None
        return [raw[i : i + CHUNK_DIGEST_SIZE] for i in range(0, len(raw), CHUNK_DIGEST_SIZE)]

    def unreferenced(self, needed: Collection[str]) -> Iterator[tuple[str, int]]:
        """Yield Digest and bytes of blobs that no tree links to and that are not in ``needed``."""
        for path in self._walk():
            digest = path.parent.name + path.name.partition(".")[0]
            with suppress(FileNotFoundError):
                status = path.stat()
                if status.st_nlink == 1 and digest not in needed:
                    yield digest, status.st_size

    def _walk(self) -> Iterator[Path]:
        for directory in sorted(self._layout.blobs.iterdir()):
            for path in directory.iterdir():
                if not path.name.endswith(".chunks") and not path.name.startswith("."):
                    yield path

    def remove(self, digest: str, dispose: Callable[[Path], None], *, all_files: bool = False) -> None:
        """Hand a blob's files to ``dispose``: those without a tree, or with ``all_files`` every one."""
        with self._lock:
            self._open_copy.pop(digest, None)
            files = sorted(self.files_of(digest), reverse=True)
            for path in files:
                if all_files or path.stat().st_nlink == 1:
                    dispose(path)
            if not self.files_of(digest):
                self._layout.chunks(digest).unlink(missing_ok=True)
