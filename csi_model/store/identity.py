"""Names for bytes before they are here: what makes two requests the same bytes, and what doesn't.

An ETag or a CRC can be forged and a key means nothing outside its bucket, so the Origin and the pin belong to the
name. Only a sha256 that *we* have checked is the same statement everywhere.
"""

import hashlib
import json
from collections.abc import Iterator

from csi_model.core.checksum import Algorithm
from csi_model.core.manifest import Entry

_quoted = json.JSONEncoder().encode


def ingest_name(origin: str, entry: Entry) -> str:
    """Name the bytes of an entry at its Origin (64 hex digits)."""
    return _hash("pinned", entry.size, origin, entry.key, entry.pin)


def memo_names(origin: str, entry: Entry) -> Iterator[str]:
    """Yield names under which these bytes may be known already, once they have been fetched and checked."""
    yield ingest_name(origin, entry)
    checksum = entry.checksum
    if checksum is not None and checksum.algorithm is Algorithm.SHA256 and not checksum.composite:
        yield _hash("sha256", entry.size, checksum.value)


def _hash(kind: str, size: int, *texts: str) -> str:
    """Hash a JSON list: the kind, the texts, the size. Put together by hand, as a plan needs 100,000 of them."""
    return hashlib.sha256(f'["{kind}", {", ".join(map(_quoted, texts))}, {size}]'.encode()).hexdigest()
