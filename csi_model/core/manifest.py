"""Manifest: the complete, sorted list of a Revision's files, in a canonical form with a digest.

What a source lists is hostile input: every path, size and count is checked here, once, before anything trusts it.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from csi_model.core.checksum import Algorithm, Checksum
from csi_model.errors import SourceInvalid

T = TypeVar("T")
_written = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
_UNSAFE = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)|[\x00-\x1f\x7f]")
"""A name that is empty, ``.`` or ``..``, or has a control character."""

VERSION = 1
MAX_ENTRIES = 200_000
"""Files in one Revision: far above any model, low enough that a hostile listing can't fill the memory."""
MAX_ENTRY_SIZE = 16 * 1024**4
"""Bytes in one file: the limit of an ext4 file with 4 KiB blocks."""
MAX_PATH_BYTES = 1024
MAX_NAME_BYTES = 255
MAX_DEPTH = 32
MAX_TOKEN_BYTES = 4096
"""Bytes of a key, a pin or the origin: an S3 key has at most 1,024, a URL in practice 2,048."""
MAX_PARTS = 100_000
"""Parts of a composite checksum: ten times what S3 allows, and few enough to walk through."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a Manifest.

    Attributes:
        path: where it lies in the model, relative, ``/``-separated.
        size: bytes.
        key: the source's own name for it (an object key, a URL path).
        pin: the source's own token for exactly these bytes (a version id, an ETag); opaque to all but the source.
        checksum: what the source says about the bytes; None if it says nothing that can be checked.

    """

    path: str
    size: int
    key: str
    pin: str
    checksum: Checksum | None = None

    @property
    def checked(self) -> bool:
        """Whether its bytes can be checked against the source's own Checksum, or are only pinned."""
        return self.checksum is not None


@dataclass(frozen=True)
class Manifest:
    """The files of a Revision, sorted by path, with the Origin they come from.

    Attributes:
        origin: scheme, normalised endpoint and bucket: what tells equal keys of different places apart.
        entries: sorted by path; paths are unique and none is a directory of another.

    """

    origin: str
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, origin: str, entries: Iterable[Entry]) -> "Manifest":
        """Check and sort entries from a source.

        Raises:
            SourceInvalid: a path is unsafe or doubled, a size impossible, a file is also a directory, a text is
                too long or no Unicode, or there are more than MAX_ENTRIES.

        """
        _encoded("origin", origin)
        checked: dict[str, Entry] = {}
        for entry in entries:
            _check(entry)
            if entry.path in checked:
                raise SourceInvalid(f"the source lists {entry.path!r} twice")
            checked[entry.path] = entry
            if len(checked) > MAX_ENTRIES:
                raise SourceInvalid(
                    f"the source lists more than {MAX_ENTRIES} files: narrow it with include or exclude"
                )
        for parent, path in _directories(checked).items():
            if parent in checked:
                raise SourceInvalid(f"the source has {parent!r} both as a file and as a directory of {path!r}")
        return cls(origin, tuple(checked[path] for path in sorted(checked)))

    @property
    def canonical(self) -> bytes:
        """The canonical form: compact JSON with sorted keys, UTF-8. Rendered anew each time, as it can be long."""
        return b"".join(self._rendered())

    def _rendered(self) -> Iterator[bytes]:
        """Yield the canonical form in pieces, so that not everything about 100,000 files exists twice at once."""
        yield b'{"entries":['
        separator = ""
        for entry in self.entries:
            yield f"{separator}{_written(_entry_json(entry))}".encode()
            separator = ","
        yield f'],"origin":{_written(self.origin)},"version":{VERSION}}}'.encode()

    @cached_property
    def digest(self) -> str:
        """The sha256 of the canonical form (64 hex digits): what trees, holds and labels are named after."""
        hasher = hashlib.sha256()
        for piece in self._rendered():
            hasher.update(piece)
        return hasher.hexdigest()

    @cached_property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)

    @property
    def files(self) -> int:
        """Number of files."""
        return len(self.entries)

    @property
    def checked_files(self) -> int:
        """Number of files that can be checked against the source's own Checksum."""
        return sum(entry.checked for entry in self.entries)

    @classmethod
    def parse(cls, data: bytes, *, digest: str | None = None) -> "Manifest":
        """Read a canonical form back, with all checks again (a disk or an API can lie too).

        Args:
            data: the canonical form.
            digest: that of the Manifest which it has to be; None takes any.

        Raises:
            SourceInvalid: it is not a manifest of a version that this program knows, or another one.

        """
        if digest is not None and hashlib.sha256(data).hexdigest() != digest:
            raise SourceInvalid(f"not manifest {digest}: the sha256 is another")
        try:
            document = json.loads(data, object_hook=_value)
            version = _exactly(int, document["version"])
            if version != VERSION:
                raise SourceInvalid(f"manifest version {version} is not {VERSION}")
            entries = (_exactly(Entry, item) for item in _exactly(list, document["entries"]))
            manifest = cls.of(_exactly(str, document["origin"]), entries)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SourceInvalid(f"not a manifest: {str(error)[:200]}") from error
        if digest is not None:
            vars(manifest)["digest"] = digest  # where cached_property keeps it: it was checked above, by the bytes
        return manifest


def _directories(paths: Iterable[str]) -> dict[str, str]:
    """Return the directories of all paths, each with a path that is in it."""
    found: dict[str, str] = {}
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found[parent] = path
            parent = parent.rpartition("/")[0]
    return found


def _check(entry: Entry) -> None:
    if not 0 <= entry.size <= MAX_ENTRY_SIZE:
        raise SourceInvalid(f"{entry.path[:200]!r} has an impossible size: not within 0 and {MAX_ENTRY_SIZE} bytes")
    _encoded("key", entry.key)
    _encoded("pin", entry.pin)
    encoded = _encoded("path", entry.path)
    if len(encoded) > MAX_PATH_BYTES or encoded.count(b"/") >= MAX_DEPTH:
        raise SourceInvalid(f"the path {entry.path[:200]!r} is longer than {MAX_PATH_BYTES} bytes or too deep")
    if _UNSAFE.search(entry.path):
        raise SourceInvalid(f"the path {entry.path[:200]!r} is not a safe relative path")
    if len(encoded) > MAX_NAME_BYTES and any(len(name) > MAX_NAME_BYTES for name in encoded.split(b"/")):
        raise SourceInvalid(f"the path {entry.path[:200]!r} has a name of more than {MAX_NAME_BYTES} bytes")
    if entry.checksum is not None:
        if sum(count for _, count in entry.checksum.parts) > MAX_PARTS:
            raise SourceInvalid(f"the checksum of {entry.path!r} has more than {MAX_PARTS} parts")
        if not entry.checksum.describes(entry.size):
            raise SourceInvalid(f"the checksum parts of {entry.path!r} don't add up to its {entry.size} bytes")


def _encoded(what: str, text: str) -> bytes:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise SourceInvalid(f"the {what} {text[:200]!r} is not valid Unicode") from None
    if len(encoded) > MAX_TOKEN_BYTES:
        raise SourceInvalid(f"the {what} {text[:200]!r} has more than {MAX_TOKEN_BYTES} bytes")
    return encoded


def _entry_json(entry: Entry) -> dict[str, Any]:
    item: dict[str, Any] = {"path": entry.path, "size": entry.size, "key": entry.key, "pin": entry.pin}
    if entry.checksum is not None:
        item["checksum"] = {"algorithm": entry.checksum.algorithm, "value": entry.checksum.value}
        if entry.checksum.parts:
            item["checksum"]["parts"] = entry.checksum.parts
    return item


def _value(item: dict[str, Any]) -> Any:
    """Make an object of JSON what it stands for as soon as it is read, so that not all dicts exist at once."""
    if "path" in item:
        return _entry_from(item)
    return _checksum_from(item) if "algorithm" in item else item


def _checksum_from(item: dict[str, Any]) -> Checksum:
    algorithm, value = Algorithm(item["algorithm"]), _exactly(str, item["value"])
    if "parts" not in item:
        return Checksum(algorithm, value)
    return Checksum(
        algorithm, value, tuple((_exactly(int, size), _exactly(int, count)) for size, count in item["parts"])
    )


def _entry_from(item: dict[str, Any]) -> Entry:
    checksum = _exactly(Checksum, item["checksum"]) if "checksum" in item else None
    path, key, pin = _exactly(str, item["path"]), _exactly(str, item["key"]), _exactly(str, item["pin"])
    return Entry(path, _exactly(int, item["size"]), key, pin, checksum)


def _exactly(kind: type[T], value: Any) -> T:
    """Take JSON at its word: no truth values or fractions for whole numbers, no numbers for texts."""
    if type(value) is not kind:
        raise TypeError(f"{str(value)[:80]!r} is no {kind.__name__}")
    return value
