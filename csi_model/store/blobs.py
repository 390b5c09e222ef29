"""Blobs: immutable bytes at rest, named by Digest.

A blob appears by one rename after its bytes are durable, and is never written again. Trees link to it.
"""

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from csi_model.core.manifest import Entry, Manifest
from csi_model.core.treehash import CHUNK_DIGEST_SIZE
from csi_model.store.durable import fsync_file, settle, write_file
from csi_model.store.labels import Label
from csi_model.store.layout import SMALL, Layout
from csi_model.store.notes import Notes

_READ_ONLY = 0o444
_CHUNKS = ".chunks"


class Blobs:
    """The blobs of one store. Methods raise OSError; the store translates.

    Attributes:
        notes: of what is known to be a blob.
        condemnations: grows whenever a blob that trees may link to is taken away.
        label: what files get before they are visible.
        evicted_bytes: bytes of disk that were freed since the store was opened.

    """

    def __init__(self, layout: Layout, label: Label | None = None) -> None:
        self.notes = Notes(layout)
        self.label = label or Label()
        self.evicted_bytes = 0
        self._layout = layout
        self._lock = threading.Lock()
        self._open_copy: dict[str, int] = {}  # digest → the copy that took the last link
        self.condemnations = 0

    # what is known

    def find(self, origin: str, entry: Entry) -> str | None:
        """Return the Digest of an entry's bytes if they are here; None for unknown and for empty ones."""
        if entry.size == 0:
            return None
        return next((digest for digest in self.notes.digests(origin, entry) if self.has(digest, entry.size)), None)

    def present(self, manifest: Manifest) -> dict[str, str]:
        """Return path → Digest of the entries whose bytes are here."""
        found = ((entry.path, self.find(manifest.origin, entry)) for entry in manifest.entries)
        return {path: digest for path, digest in found if digest is not None}

    def has(self, digest: str, size: int) -> bool:
        """Tell whether a blob is here with the size that it should have."""
        return _size(self._layout.blob_text(digest)) == size

    def remember(self, origin: str, entries: Iterable[tuple[Entry, str]], *, durable: bool = False) -> None:
        """Note which Digest entries turned out to have. Losing a note costs a second fetch and nothing else."""
        self.notes.write(origin, entries, durable=durable)

    # coming and going

    def adopt(self, files: Sequence[tuple[str, str, bytes]]) -> None:
        """Make durable, sealed files visible as blobs.

        Args:
            files: path, Digest, concatenated chunk digests (empty: a single chunk). The paths are gone afterwards.

        """
        touched, shards = set(), set()
        with self._lock:
            for path, digest, chunks in files:
                blob = self._layout.blob_text(digest)
                size = _size(blob)
                if size is not None and size == _size(path):
                    os.unlink(path)  # noqa: PTH108 - a string: see Layout.blob_text
                    continue
                shard = blob.rpartition("/")[0]
                if shard not in shards and not os.path.isdir(shard):  # noqa: PTH112 - as above
                    os.mkdir(shard, 0o700)  # noqa: PTH102 - as above
                    touched.add(self._layout.blobs)
                shards.add(shard)
                if len(chunks) > CHUNK_DIGEST_SIZE:
                    write_file(self._layout.chunks(digest), chunks, scratch=self._layout.assembly)
                os.rename(path, blob)  # noqa: PTH104 - as above
        settle(touched | set(map(Path, shards)))

    def place(self, digest: str, size: int, target: str) -> None:
        """Give a blob's bytes a path in a tree being built: a hard link, or a copy for small files.

        Raises:
            LookupError: the blob is gone.

        """
        try:
            if size < SMALL:
                self._copy(digest, Path(target))
            else:
                self._link(digest, target)
        except FileNotFoundError:
            if self._layout.blob(digest).exists():
                raise
            raise LookupError(digest) from None

    def _copy(self, digest: str, target: Path) -> None:
        shutil.copyfile(self._layout.blob_text(digest), target)
        self.label.put(target)
        target.chmod(_READ_ONLY)
        os.utime(target, (0, 0))

    def _link(self, digest: str, target: str) -> None:
        copy = self._open_copy.get(digest, 0)
        while True:
            try:
                os.link(self._layout.blob_text(digest, copy), target)
            except FileNotFoundError:
                if copy == 0:
                    raise
                self._duplicate(digest, copy)
            except OSError as error:
                if error.errno != errno.EMLINK:
                    raise
                copy += 1
            else:
                if copy:
                    self._open_copy[digest] = copy
                self.label.put(target)  # it may be from before there was a label
                return

    def _duplicate(self, digest: str, copy: int) -> None:
        """Start a further file of the same bytes (ext4 allows 65,000 links to one)."""
        with self._lock:
            target = self._layout.blob(digest, copy)
            if target.exists():
                return
            temporary = self._layout.assembly / f"copy-{token_hex(8)}"
            try:
                self._copy(digest, temporary)
                fsync_file(temporary)
                temporary.rename(target)
            except OSError:
                with suppress(OSError):
                    temporary.unlink()
                raise
        settle([target.parent])

    def files_of(self, digest: str) -> list[Path]:
        """Return all files that have a digest's bytes, the first one first."""
        blob = self._layout.blob(digest)
        return sorted(path for path in blob.parent.glob(f"{blob.name}*") if path.suffix != _CHUNKS)

    def chunk_digests(self, digest: str) -> list[bytes] | None:
        """Return the digests of a blob's chunks, or None if it has only one or they are lost."""
        try:
            raw = self._layout.chunks(digest).read_bytes()
        except FileNotFoundError:
            return None
        return [raw[i : i + CHUNK_DIGEST_SIZE] for i in range(0, len(raw), CHUNK_DIGEST_SIZE)]

    def unlinked(self) -> Iterator[str]:
        """Yield Digests of blobs that have a file that no tree links to."""
        for directory in self._layout.blobs.iterdir():
            for path in directory.iterdir():
                with suppress(FileNotFoundError):
                    if path.suffix != _CHUNKS and path.stat().st_nlink == 1:
                        yield directory.name + path.name.partition(".")[0]

    def remove_unlinked(self, digest: str) -> None:
        """Delete those files of a blob that no tree links to; the first one only with all others."""
        with self._lock:
            self._open_copy.pop(digest, None)
            files = {path: path.stat() for path in self.files_of(digest)}
            linked = any(stat.st_nlink > 1 for stat in files.values())
            for path, stat in files.items():
                if stat.st_nlink == 1 and not (linked and path == self._layout.blob(digest)):
                    path.unlink()
                    self.evicted_bytes += stat.st_blocks * 512
            if not linked:
                self._layout.chunks(digest).unlink(missing_ok=True)

    def condemn(self, digest: str, dispose: Callable[[Path], None]) -> None:
        """Hand all files of a blob to ``dispose``, whoever links to them."""
        with self._lock:
            self.condemnations += 1
            self._open_copy.pop(digest, None)
            for path in self.files_of(digest):
                dispose(path)
            self._layout.chunks(digest).unlink(missing_ok=True)


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a string: see Layout.blob_text
    except FileNotFoundError:
        return None
