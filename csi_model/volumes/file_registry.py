"""FileRegistry: volumes in a directory, one file each, for a driver without Kubernetes.

::

    <root>/<sha256 of the id>.volume     line 1: the record as JSON
                                         line 2: the manifest, canonical
                                         line 3: sha256 of lines 1 and 2
    <root>/.<random>.new                 being written

A file appears by link(2), whole and durable, and is replaced by rename(2) when what its volume wants changes: readers
in other processes see all or nothing, and of two writers one wins. Changing and deleting exclude each other by flock(2)
of the directory. The small line comes first, so that listing ids doesn't read manifests.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from csi_model.core.manifest import Manifest
from csi_model.core.placement import Wants
from csi_model.core.records import from_json, to_json
from csi_model.core.volume import VolumeRecord
from csi_model.errors import SourceInvalid, StoreUnusable, VolumeExists, VolumeNotFound
from csi_model.store.durable import fsync_directory, write_all

log = logging.getLogger(__name__)

_SUFFIX, _NEW = ".volume", ".new"
_ABANDONED = 3600.0  # seconds: nobody writes one file for so long


class FileRegistry:
    """:class:`csi_model.volumes.registry.VolumeRegistry` in a directory. Processes of one host may share it.

    Args:
        root: made with mode 0700 if its parent exists.

    Raises:
        StoreUnusable: it can't be made or read.

    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, str] = {}  # file name → id: the one is the other's hash, so it can't become wrong
        with _failing(f"opening the volume registry {root}"):
            root.mkdir(mode=0o700, exist_ok=True)
            fsync_directory(root.parent)
            for path in root.glob(f".*{_NEW}"):
                self._remove_abandoned(path)

    def get(self, volume_id: str) -> VolumeRecord | None:
        path = self._path(volume_id)
        with _failing(f"reading volume {volume_id[:128]!r}"):
            try:
                with path.open("rb") as file:
                    lines = file.readline(), file.readline(), file.read()
            except FileNotFoundError:
                return None
        try:
            return _decode(*lines, volume_id)
        except StoreUnusable as error:
            raise StoreUnusable(f"the record {path} of volume {volume_id[:128]!r} can't be used: {error}") from error

    def put(self, record: VolumeRecord) -> None:
        with _failing(f"writing volume {record.volume_id[:128]!r}"):
            with self._written(record) as new:
                try:
                    os.link(new, self._path(record.volume_id))
                except FileExistsError:
                    raise VolumeExists(f"volume {record.volume_id[:128]!r} exists") from None
            fsync_directory(self._root)

    def modify(self, volume_id: str, wants: Wants) -> None:
        with _failing(f"changing volume {volume_id[:128]!r}"), self._alone():
            record = self.get(volume_id)
            if record is None:
                raise VolumeNotFound(f"no volume has the id {volume_id[:128]!r}")
            with self._written(record.wanting(wants)) as new:
                new.rename(self._path(volume_id))
            fsync_directory(self._root)

    def delete(self, volume_id: str) -> None:
        with _failing(f"deleting volume {volume_id[:128]!r}"), self._alone():
            self._path(volume_id).unlink(missing_ok=True)
            fsync_directory(self._root)  # also when it was gone already: perhaps by a call that died before this line

    def ids(self, *, after: str = "", limit: int | None = None) -> Sequence[str]:
        """As the contract says; a damaged record is logged and left out, so that it doesn't hide the others."""
        with _failing(f"listing the volume registry {self._root}"):
            names = [path.name for path in self._root.iterdir() if path.suffix == _SUFFIX]
            found = {name: self._known.get(name) or self._read_id(name) for name in names}
        self._known = {name: volume_id for name, volume_id in found.items() if volume_id is not None}
        return sorted(volume_id for volume_id in self._known.values() if volume_id > after)[:limit]

    def _read_id(self, name: str) -> str | None:
        path = self._root / name
        try:
            with path.open("rb") as file:
                volume_id = _first_line(file.readline())["volume_id"]
        except FileNotFoundError:
            return None  # deleted since the directory was read
        except (StoreUnusable, OSError, KeyError):
            volume_id = None
        if not isinstance(volume_id, str) or self._path(volume_id) != path:
            log.warning("%s is no record of a volume: it is left out of the list", path)
            return None
        return volume_id

    @contextmanager
    def _written(self, record: VolumeRecord) -> Iterator[Path]:
        """Write a record to a new file, durably; whatever is left of it at the end is removed."""
        new = self._root / f".{token_hex(8)}{_NEW}"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                write_all(descriptor, _encode(record))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            yield new
        finally:
            new.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others, in this process and elsewhere, from changing or deleting; creating goes on."""
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _path(self, volume_id: str) -> Path:
        """Ids are free text, so a hash names the file."""
        return self._root / (hashlib.sha256(volume_id.encode(errors="surrogatepass")).hexdigest() + _SUFFIX)

    def _remove_abandoned(self, path: Path) -> None:
        """Remove what a writer that died has left; another process may be writing right now, so only the old."""
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()
        except FileNotFoundError:
            return


def _encode(record: VolumeRecord) -> bytes:
    body = json.dumps(to_json(record)).encode() + b"\n" + record.manifest.canonical + b"\n"
    return body + hashlib.sha256(body).hexdigest().encode()


def _decode(first: bytes, second: bytes, stated: bytes, volume_id: str) -> VolumeRecord:
    checksum = hashlib.sha256(first)
    checksum.update(second)
    if checksum.hexdigest().encode() != stated:
        raise StoreUnusable("it is damaged: its checksum doesn't fit")
    document = _first_line(first)
    try:
        manifest = Manifest.parse(second.removesuffix(b"\n"), digest=str(document.get("manifest")))
    except SourceInvalid as error:
        raise StoreUnusable(f"its manifest is damaged: {error}") from error
    record = from_json(document, manifest)
    if record.volume_id != volume_id:
        raise StoreUnusable(f"it is that of volume {record.volume_id[:128]!r}")
    return record


def _first_line(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise StoreUnusable(f"it is damaged: {error}") from error
    if not isinstance(document, dict):
        raise StoreUnusable("it is damaged: no JSON object")
    return document


@contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnusable(
            f"{what} failed: {error.strerror} ({errno.errorcode.get(error.errno or 0, '?')})"
        ) from error
