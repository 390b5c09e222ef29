"""What S3 says about an object's bytes, and which of it can be checked.

A checksum over the whole object is best, and CRCs are cheapest. A composite one is a checksum of the parts'
checksums, so it is of use only where the server tells the parts' sizes. An ETag is an MD5 only for an object that was
uploaded in one piece and isn't encrypted with a key of the customer's.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

from csi_model.core.checksum import Algorithm, Checksum

_FIELDS = {  # best first
    "ChecksumCRC64NVME": Algorithm.CRC64NVME,
    "ChecksumCRC32C": Algorithm.CRC32C,
    "ChecksumCRC32": Algorithm.CRC32,
    "ChecksumSHA1": Algorithm.SHA1,
    "ChecksumSHA256": Algorithm.SHA256,
}
_COMPOSITE = re.compile(r"(?P<value>[A-Za-z0-9+/=]+)-(?P<count>[0-9]{1,5})\Z")
_MD5 = re.compile(r'"?(?P<hex>[0-9a-f]{32})"?\Z')
_DIRECTORY_BUCKET = "--x-s3"

PartSizes = Callable[[], "list[int] | None"]
"""Asks the server for the sizes of an object's parts, in order; None if it can't tell."""


def checksum_of(head: Mapping[str, Any], bucket: str, part_sizes: PartSizes) -> Checksum | None:
    """Choose the best usable Checksum from the answer to a HEAD.

    Args:
        head: botocore's ``head_object`` answer.
        bucket: its name; ETags of directory buckets are never an MD5.
        part_sizes: called at most once, and only for a composite checksum of several parts.

    """
    composite = []
    for name, algorithm in _FIELDS.items():
        text = str(head.get(name) or "")
        match = _COMPOSITE.match(text)
        if match or (text and head.get("ChecksumType") == "COMPOSITE"):
            composite.append((algorithm, match["value"] if match else text, int(match["count"]) if match else 0))
        elif text and (flat := _checksum(algorithm, text, ())) is not None:
            return flat
    return _composite(composite, head["ContentLength"], part_sizes) or _md5(head, bucket)


def _composite(stated: list[tuple[Algorithm, str, int]], size: int, part_sizes: PartSizes) -> Checksum | None:
    if not stated or not size:
        return None
    count = stated[0][2]
    sizes = [size] if count == 1 else part_sizes()
    if not sizes or sum(sizes) != size or min(sizes) <= 0 or count not in (0, len(sizes)):
        return None
    parts = _run_lengths(sizes)
    return next((found for a, text, _ in stated if (found := _checksum(a, text, parts)) is not None), None)


def _run_lengths(sizes: Iterable[int]) -> tuple[tuple[int, int], ...]:
    return tuple((size, len(list(run))) for size, run in groupby(sizes))


def _checksum(algorithm: Algorithm, text: str, parts: tuple[tuple[int, int], ...]) -> Checksum | None:
    """Decode a value; one that is malformed is as good as none."""
    try:
        return Checksum(algorithm, base64.b64decode(text, validate=True).hex(), parts)
    except (binascii.Error, ValueError):
        return None


def _md5(head: Mapping[str, Any], bucket: str) -> Checksum | None:
    match = _MD5.match(str(head.get("ETag") or ""))
    encryption = str(head.get("ServerSideEncryption") or "")
    if match is None or bucket.endswith(_DIRECTORY_BUCKET) or head.get("SSECustomerAlgorithm"):
        return None
    return Checksum(Algorithm.MD5, match["hex"]) if encryption in ("", "AES256") else None
