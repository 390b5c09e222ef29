"""What lies under a prefix of a bucket, pinned object by object.

A listing gives names; the HEAD of each gives its version, ETag, size and checksums. Where the two differ the HEAD is
right, since size and pin come from it together.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from csi_model.core.globs import Selection
from csi_model.core.manifest import MAX_ENTRIES, Entry
from csi_model.errors import SourceInvalid, SourceNotFound, SourceUnavailable
from csi_model.sources.s3_checksums import checksum_of
from csi_model.sources.s3_client import HEADS
from csi_model.sources.s3_errors import s3_errors

VERSION, ETAG = "version:", "etag:"
"""The two forms of a pin."""
_MAX_LISTED = 5 * MAX_ENTRIES  # names looked at in search of those that the selection admits
_NEARBY = 5
_MAX_PARTS = 10_000
_NO_VERSION = (None, "", "null")
_CHECKSUM_TROUBLE = (400, 403, 501)  # how a HEAD fails where only its checksums can't be had


@dataclass(frozen=True)
class Listing:
    """One bucket, as one client sees it.

    Attributes:
        client: botocore's S3 client.
        bucket: its name.
        where: the place, as people know it.

    """

    client: Any
    bucket: str
    where: str

    def entries(self, path: str, selection: Selection) -> Iterator[Entry]:
        """Yield the pinned objects below ``path/``, or the one object ``path``.

        Raises:
            SourceNotFound: there is neither; the text says what lies nearby.
            SourceError: as the server has it.

        """
        names = self._names(path)
        first = next(names, None)
        if first is None:
            yield from self._single(path, selection)
            return
        chosen = [name for name in (first, *names) if selection.admits(name[0])]
        if len(chosen) > MAX_ENTRIES:
            raise SourceInvalid(f"{self.where} has over {MAX_ENTRIES} files: narrow it with include or exclude")
        with ThreadPoolExecutor(HEADS, thread_name_prefix="s3-head") as pool:
            yield from pool.map(lambda name: self._pinned(*name), chosen)

    def _names(self, path: str) -> Iterator[tuple[str, str]]:
        """Yield (path in the model, key) of all that lies below, without the empty markers of directories."""
        prefix = f"{path}/" if path else ""
        for count, item in enumerate(self._listed(prefix)):
            if count >= _MAX_LISTED:
                raise SourceInvalid(f"{self.where} lists more than {_MAX_LISTED} objects: name a deeper prefix")
            key = str(item["Key"])
            if not key.startswith(prefix):
                raise SourceInvalid(f"{self.where} lists {key[:200]!r}, which doesn't lie below {prefix!r}")
            if not (key.endswith("/") and item.get("Size") == 0):
                yield key.removeprefix(prefix), key

    def _listed(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        pages = iter(self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix))
        while True:
            with s3_errors(self.where):
                page = next(pages, None)
            if page is None:
                return
            yield from page.get("Contents", ())

    def _single(self, path: str, selection: Selection) -> Iterator[Entry]:
        name = path.rpartition("/")[2]
        head = self._head(path) if path else None
        if head is None:
            raise SourceNotFound(f"nothing lies under {self.where}{self._nearby(path)}")
        if selection.admits(name):
            yield self._entry(name, path, head)

    def _pinned(self, name: str, key: str) -> Entry:
        head = self._head(key)
        if head is None:
            raise SourceUnavailable(f"{key[:200]!r} was deleted while {self.where} was being listed: try again")
        return self._entry(name, key, head)

    def _head(self, key: str) -> Mapping[str, Any] | None:
        """Ask for an object's attributes; None if there is no such object."""
        what = f"{self.where} ({key[-200:]})"
        with s3_errors(what):
            try:
                head: Mapping[str, Any] = self.client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                if status == 404:  # noqa: PLR2004
                    return None
                if status not in _CHECKSUM_TROUBLE:
                    raise
                # The checksums of an object encrypted with KMS need rights to its key; the rest doesn't.
                head = self.client.head_object(Bucket=self.bucket, Key=key)
        return head

    def _entry(self, name: str, key: str, head: Mapping[str, Any]) -> Entry:
        version, etag = head.get("VersionId"), head.get("ETag")
        if version not in _NO_VERSION:
            pin = f"{VERSION}{version}"
        elif etag:
            pin = f"{ETAG}{etag}"
        else:
            raise SourceInvalid(f"{self.where} gives {key[:200]!r} neither a version nor an ETag: it can't be pinned")
        checksum = checksum_of(head, self.bucket, lambda: self._part_sizes(key, head))
        return Entry(name, head["ContentLength"], key, pin, checksum)

    def _part_sizes(self, key: str, head: Mapping[str, Any]) -> list[int] | None:
        """Ask for the sizes of an object's parts, page by page; None where the server can't or won't tell."""
        pinned = {"VersionId": head["VersionId"]} if head.get("VersionId") not in _NO_VERSION else {}
        sizes: list[int] = []
        marker = 0
        while True:
            try:
                answer = self.client.get_object_attributes(
                    Bucket=self.bucket,
                    Key=key,
                    ObjectAttributes=["ETag", "ObjectParts"],
                    PartNumberMarker=marker,
                    **pinned,
                )
            except ClientError:
                return None  # no such operation here, or no right to it: the object stays pinned, only not checked
            parts = answer.get("ObjectParts", {})
            page = parts.get("Parts", ())
            sizes += [int(part["Size"]) for part in page]
            if not parts.get("IsTruncated") or not page:
                same = str(answer.get("ETag", "")).strip('"') == str(head.get("ETag", "")).strip('"')
                return sizes if same else None
            marker = int(parts["NextPartNumberMarker"])
            if len(sizes) >= _MAX_PARTS:
                return None

    def _nearby(self, path: str) -> str:
        """Say what lies beside a path where nothing was found: names that begin alike come first."""
        parent, _, missing = path.rpartition("/")
        prefix = f"{parent}/" if parent else ""
        with s3_errors(self.where):
            page = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, Delimiter="/", MaxKeys=1000)
        names = [str(item["Prefix"]) for item in page.get("CommonPrefixes", ())]
        names += [str(item["Key"]) for item in page.get("Contents", ())]
        near = sorted({name.removeprefix(prefix) for name in names} - {""}, key=lambda name: _distance(name, missing))
        if not near:
            return f": {'its parent' if parent else 'the bucket'} is empty"
        return f": nearby are {_quoted(islice(near, _NEARBY))}"


def _distance(name: str, missing: str) -> tuple[float, str]:
    return -difflib.SequenceMatcher(None, name.rstrip("/").lower()[:100], missing.lower()[:100]).ratio(), name


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name[:100]) for name in names)
