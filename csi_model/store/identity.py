"""Names for bytes before they are here: what makes two requests the same bytes, and what doesn't.

An ETag or a CRC can be forged and a key means nothing outside its bucket, so the Origin and the pin belong to the
name. Only a sha256 that *we* have checked is the same statement everywhere.
"""

import hashlib
import json

from csi_model.core.checksum import Algorithm
from csi_model.core.manifest import Entry


def ingest_name(origin: str, entry: Entry) -> str:
    """Name the bytes of an entry at its Origin (64 hex digits)."""
    return _hash(["pinned", origin, entry.key, entry.pin, entry.size])


def memo_names(origin: str, entry: Entry) -> list[str]:
    """Names under which these bytes may be known already, once they have been fetched and checked."""
    names = [ingest_name(origin, entry)]
    checksum = entry.checksum
    if checksum is not None and checksum.algorithm is Algorithm.SHA256 and not checksum.composite:
        names.append(_hash(["sha256", checksum.value, entry.size]))
    return names


def _hash(parts: list[str | int]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
