"""What the embedded S3 server keeps: buckets, and in them versions of objects, each a file with a note beside it.

::

    <directory>/<bucket>/bucket.json          {"versioned": …, "public": …}
    <directory>/<bucket>/0000000017.data      the bytes of the 17th write
    <directory>/<bucket>/0000000017.json      its key, version, ETag, checksums
"""

import json
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from csi_model.demo.s3server_digests import Readable, copy_stating


class S3Failure(Exception):
    """An answer that is one of S3's errors."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of an object.

    Attributes:
        number: which write it was; names its files.
        key: the object's.
        version: its id, or ``null`` if it was written without versioning.
        etag: without quotes.
        size: bytes.
        modified: seconds since the epoch.
        marker: whether it says that the object was deleted.
        headers: what HEAD and GET say besides (checksums, encryption).
        parts: (size, checksum) of each part, if it has a composite checksum.

    """

    number: int
    key: str
    version: str
    etag: str = ""
    size: int = 0
    modified: float = field(default_factory=time.time)
    marker: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[tuple[int, str]] = field(default_factory=list)


class Bucket:
    """Objects by key. Safe to use from several threads."""

    def __init__(self, directory: Path) -> None:
        self.name = directory.name
        self._directory = directory
        self._lock = threading.Lock()
        self._versions: dict[str, list[Stored]] = {}
        self._written = 0
        note = json.loads((directory / "bucket.json").read_text())
        self.versioned, self.public = bool(note["versioned"]), bool(note["public"])
        for path in sorted(directory.glob("[0-9]*.json")):
            self._keep(Stored(**json.loads(path.read_text())))

    @classmethod
    def create(cls, directory: Path, *, versioned: bool, public: bool) -> "Bucket":
        """Make a bucket, or open an existing one with other settings."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "bucket.json").write_text(json.dumps({"versioned": versioned, "public": public}))
        return cls(directory)

    def put(
        self,
        key: str,
        source: Readable,
        size: int,
        *,
        checksum: str | None,
        part_size: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> Stored:
        """Store ``size`` bytes of a stream as the newest version of a key, in parts if ``part_size`` says so."""
        number, version = self._next()
        with self._data(number).open("wb") as file:
            stated = copy_stating(source, file, size, checksum=checksum, part_size=part_size)
        stored = Stored(
            number,
            key,
            version,
            stated.etag,
            stated.size,
            headers={**stated.headers, **(headers or {})},
            parts=stated.parts,
        )
        self._commit(stored)
        return stored

    def delete(self, key: str, version: str | None = None) -> None:
        """Remove one version; without an id hide the object, or forget it in a bucket without versions."""
        if version is None and self.versioned:
            number, own = self._next()
            self._commit(Stored(number, key, own, marker=True))
            return
        with self._lock:
            versions = self._versions.pop(key, [])
            gone = [stored for stored in versions if version in (None, stored.version)]
            kept = [stored for stored in versions if stored not in gone]
            if kept:
                self._versions[key] = kept
        self._remove(gone)

    def get(self, key: str, version: str | None = None) -> Stored:
        """Give one version, by default the newest.

        Raises:
            S3Failure: there is none.

        """
        with self._lock:
            found = [stored for stored in self._versions.get(key, []) if version in (None, stored.version)]
        if found and not found[-1].marker:
            return found[-1]
        raise S3Failure(404, "NoSuchVersion" if version else "NoSuchKey", "The specified object does not exist.")

    def newest(self) -> list[Stored]:
        """Give the newest version of each object that isn't deleted, in the order of keys."""
        with self._lock:
            newest = [versions[-1] for versions in self._versions.values() if not versions[-1].marker]
        return sorted(newest, key=lambda stored: stored.key.encode(errors="surrogateescape"))

    def open(self, stored: Stored) -> BinaryIO:
        """Open the bytes of a version; what is open stays readable when it is deleted meanwhile."""
        try:
            return self._data(stored.number).open("rb")
        except FileNotFoundError as error:
            raise S3Failure(404, "NoSuchKey", "The specified object was deleted just now.") from error

    def _next(self) -> tuple[int, str]:
        with self._lock:
            self._written += 1
            return self._written, f"v{self._written:010d}" if self.versioned else "null"

    def _data(self, number: int) -> Path:
        return self._directory / f"{number:010d}.data"

    def _commit(self, stored: Stored) -> None:
        note = self._data(stored.number).with_suffix(".new")
        note.write_text(json.dumps(asdict(stored)))
        note.rename(note.with_suffix(".json"))
        with self._lock:
            replaced = [] if self.versioned else self._versions.pop(stored.key, [])
            self._keep(stored)
        self._remove(replaced)

    def _keep(self, stored: Stored) -> None:
        self._versions.setdefault(stored.key, []).append(stored)
        self._written = max(self._written, stored.number)

    def _remove(self, gone: list[Stored]) -> None:
        for stored in gone:
            self._data(stored.number).with_suffix(".json").unlink(missing_ok=True)
            self._data(stored.number).unlink(missing_ok=True)
