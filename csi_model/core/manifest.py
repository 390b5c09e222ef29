"""Manifest: the complete, sorted list of a Revision's files, in a canonical form with a digest.

What a source lists is hostile input: every path, size and count is checked here, once, before anything trusts it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from csi_model.core.checksum import Algorithm, Checksum
from csi_model.errors import SourceInvalid

T = TypeVar("T")
_DELETE = 0x7F  # the one ASCII control character that isn't below the space

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
        for path in checked:
            for parent in _parents(path):
                if parent in checked:
                    raise SourceInvalid(f"the source has {parent!r} both as a file and as a directory of {path!r}")
        return cls(origin, tuple(checked[path] for path in sorted(checked)))

    @cached_property
    def canonical(self) -> bytes:
        """The canonical form: compact JSON with sorted keys, UTF-8."""
        document = {"version": VERSION, "origin": self.origin, "entries": [_entry_json(e) for e in self.entries]}
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @cached_property
    def digest(self) -> str:
        """The sha256 of the canonical form (64 hex digits): what trees, holds and labels are named after."""
        return hashlib.sha256(self.canonical).hexdigest()

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
    def parse(cls, data: bytes) -> "Manifest":
        """Read a canonical form back, with all checks again (a disk or an API can lie too).

        Raises:
            SourceInvalid: it is not a manifest of a version that this program knows.

        """
        try:
            document = json.loads(data)
            version = _exactly(int, document["version"])
            if version != VERSION:
                raise SourceInvalid(f"manifest version {version} is not {VERSION}")
            entries = [_entry_from(item) for item in _exactly(list, document["entries"])]
            return cls.of(_exactly(str, document["origin"]), entries)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SourceInvalid(f"not a manifest: {str(error)[:200]}") from error


def _parents(path: str) -> Iterator[str]:
    position = path.find("/")
    while position != -1:
        yield path[:position]
        position = path.find("/", position + 1)


def _check(entry: Entry) -> None:
    if not 0 <= entry.size <= MAX_ENTRY_SIZE:
        raise SourceInvalid(f"{entry.path[:200]!r} has an impossible size: not within 0 and {MAX_ENTRY_SIZE} bytes")
    _encoded("key", entry.key)
    _encoded("pin", entry.pin)
    encoded = _encoded("path", entry.path)
    names = encoded.split(b"/")
    if not encoded or len(encoded) > MAX_PATH_BYTES or len(names) > MAX_DEPTH:
        raise SourceInvalid(
            f"the path {entry.path[:200]!r} is empty, longer than {MAX_PATH_BYTES} bytes or deeper than {MAX_DEPTH}"
        )
    for name in names:
        if name in (b"", b".", b"..") or len(name) > MAX_NAME_BYTES or any(c < ord(" ") or c == _DELETE for c in name):
            raise SourceInvalid(f"the path {entry.path[:200]!r} is not a safe relative path")
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


def _entry_from(item: dict[str, Any]) -> Entry:
    checksum = None
    if "checksum" in item:
        stated = item["checksum"]
        parts = tuple((_exactly(int, size), _exactly(int, count)) for size, count in stated.get("parts", ()))
        checksum = Checksum(Algorithm(stated["algorithm"]), _exactly(str, stated["value"]), parts)
    path, key, pin = (_exactly(str, item[name]) for name in ("path", "key", "pin"))
    return Entry(path, _exactly(int, item["size"]), key, pin, checksum)


def _exactly(kind: type[T], value: Any) -> T:
    """Take JSON at its word: no truth values or fractions for whole numbers, no numbers for texts."""
    if type(value) is not kind:
        raise TypeError(f"{str(value)[:80]!r} is no {kind.__name__}")
    return value
