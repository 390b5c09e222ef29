"""The XML that the embedded S3 server speaks."""

import base64
import binascii
from datetime import UTC, datetime
from urllib.parse import quote
from xml.sax.saxutils import escape

from csi_model.demo.s3server_auth import Signed
from csi_model.demo.s3server_objects import Bucket, S3Failure, Stored

_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_MOST_KEYS = 1000


def error_document(code: str, message: str, resource: str) -> bytes:
    """Render an error."""
    return _document(f"<Error>{_tag('Code', code)}{_tag('Message', message)}{_tag('Resource', resource)}</Error>")


def listing_document(bucket: Bucket, request: Signed) -> bytes:
    """Answer ListObjectsV2.

    Raises:
        S3Failure: an argument is malformed.

    """
    prefix, delimiter = request.argument("prefix"), request.argument("delimiter")
    limit = _number(request.argument("max-keys"), _MOST_KEYS)
    after = _after(request.argument("continuation-token")) or request.argument("start-after")
    encode = quote if request.argument("encoding-type") == "url" else str
    rows: list[str] = []
    last, group, truncated = "", "", False
    for stored in bucket.newest():
        name = stored.key
        if not name.startswith(prefix) or _bytes(name) <= _bytes(after) or (group and name.startswith(group)):
            continue
        position = name.find(delimiter, len(prefix)) if delimiter else -1
        common = name[: position + len(delimiter)] if position >= 0 else ""
        if common and after.startswith(common):
            continue
        if len(rows) >= limit:
            truncated = True
            break
        group, last = common, common or name
        rows.append(
            f"<CommonPrefixes>{_tag('Prefix', encode(common))}</CommonPrefixes>"
            if common
            else _contents(stored, encode(name))
        )
    token = base64.urlsafe_b64encode(_bytes(last)).decode()
    return _document(
        f"<ListBucketResult {_NAMESPACE}>{_tag('Name', bucket.name)}{_tag('Prefix', encode(prefix))}"
        f"{_tag('KeyCount', str(len(rows)))}{_tag('MaxKeys', str(limit))}{_tag('IsTruncated', str(truncated).lower())}"
        + (_tag("EncodingType", "url") if encode is quote else "")
        + (_tag("NextContinuationToken", token) if truncated else "")
        + "".join(rows)
        + "</ListBucketResult>"
    )


def attributes_document(stored: Stored, request: Signed) -> bytes:
    """Answer GetObjectAttributes with the ETag and a page of the parts."""
    limit = _number(request.headers.get("x-amz-max-parts", ""), _MOST_KEYS)
    marker = _number(request.headers.get("x-amz-part-number-marker", ""), 10_000, default=0)
    return _document(
        f"<GetObjectAttributesResponse {_NAMESPACE}>{_tag('ETag', stored.etag)}"
        + (_parts(stored, marker, limit) if stored.parts else "")
        + f"{_tag('ObjectSize', str(stored.size))}</GetObjectAttributesResponse>"
    )


def _parts(stored: Stored, marker: int, limit: int) -> str:
    name = (
        next(name for name in stored.headers if name != "x-amz-checksum-type").removeprefix("x-amz-checksum-").upper()
    )
    page = stored.parts[marker : marker + limit]
    end = marker + len(page)
    rows = (
        f"<Part>{_tag('PartNumber', str(number))}{_tag('Size', str(size))}{_tag(f'Checksum{name}', value)}</Part>"
        for number, (size, value) in enumerate(page, marker + 1)
    )
    return (
        f"<ObjectParts>{_tag('IsTruncated', str(end < len(stored.parts)).lower())}{_tag('MaxParts', str(limit))}"
        f"{_tag('NextPartNumberMarker', str(end))}{_tag('PartNumberMarker', str(marker))}"
        f"{_tag('PartsCount', str(len(stored.parts)))}{''.join(rows)}</ObjectParts>"
    )


def _contents(stored: Stored, key: str) -> str:
    modified = datetime.fromtimestamp(stored.modified, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f"<Contents>{_tag('Key', key)}{_tag('LastModified', modified)}{_tag('ETag', stored.etag)}"
        f"{_tag('Size', str(stored.size))}{_tag('StorageClass', 'STANDARD')}</Contents>"
    )


def _document(body: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode(errors="surrogateescape")


def _tag(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _number(text: str, most: int, default: int | None = None) -> int:
    if not text:
        return most if default is None else default
    if not text.isdecimal():
        raise S3Failure(400, "InvalidArgument", f"{text[:40]} is not a number.")
    return min(int(text), most)


def _after(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode(errors="surrogateescape")
    except binascii.Error as error:
        raise S3Failure(400, "InvalidArgument", "The continuation token is malformed.") from error
