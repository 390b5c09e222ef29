"""Models in S3 and in whatever speaks its protocol.

botocore lists, signs and knows credentials; the bytes come through :mod:`csi_model.sources.http`. Importing this
module takes most of a second, so it is imported when the first S3 volume is met.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from csi_model.core.globs import Selection
from csi_model.core.manifest import Entry
from csi_model.core.reference import Reference
from csi_model.errors import SourceInvalid
from csi_model.sources.base import Access, Reader, Source, read_into
from csi_model.sources.http_connection import HttpLimits
from csi_model.sources.http_pool import HttpPool
from csi_model.sources.s3_client import check_bucket, make_service, origin_of, shown_place
from csi_model.sources.s3_errors import s3_errors
from csi_model.sources.s3_listing import ETAG, VERSION, Listing
from csi_model.sources.s3_reader import Pinned, SignedReader
from csi_model.sources.s3_signing import Signer

if TYPE_CHECKING:
    from csi_model.sources.workers import Workers

_SIGNED_FOR = 3600  # seconds a URL is valid: long enough for a file at a slow rate, short if one ever leaks


class _Ready(NamedTuple):
    """What a source asks with, once it is needed."""

    client: Any
    signer: Signer


class S3Source(Source):
    """One bucket, reached with one Access.

    Args:
        reference: whose bucket it is.
        access: how it is reached.
        limits: how patient it is with the server.
        workers: processes that read over TLS in this one's place.

    Raises:
        InvalidArgument: the reference can't name a bucket.

    """

    def __init__(
        self,
        reference: Reference,
        access: Access,
        *,
        limits: HttpLimits | None = None,
        workers: "Workers | None" = None,
    ) -> None:
        check_bucket(reference.location)
        self.origin = origin_of(access.endpoint, access.region, reference.location)
        self._bucket = reference.location
        self._access = access
        self._limits = limits or HttpLimits()
        self._pool = HttpPool(access.ca_bundle, self._limits, workers)
        self._lock = threading.Lock()
        self._made: _Ready | None = None

    def __repr__(self) -> str:
        return f"S3Source({self.origin!r})"

    def _entries(self, reference: Reference, selection: Selection) -> Sequence[Entry]:
        if reference.location != self._bucket:
            raise ValueError(f"{reference} is not in the bucket {self._bucket}")
        where = shown_place(self._access, self._bucket, reference.path)
        # All at once: a generator that is left in the middle would keep its threads until somebody collects it.
        return list(Listing(self._ready().client, self._bucket, where).entries(reference.path, selection))

    def _prove_read(self, entry: Entry) -> None:
        if entry.size:
            with self.open(entry) as reader:
                read_into(reader, 0, memoryview(bytearray(1)))
            return
        with s3_errors(self._shown(entry)):
            # S3 asks for the right to read the object before it answers the HEAD of one.
            self._ready().client.head_object(Bucket=self._bucket, Key=entry.key)

    @contextmanager
    def open(self, entry: Entry) -> Iterator[Reader]:
        version, headers, expect = "", {}, {}
        if entry.pin.startswith(VERSION):
            version = expect["x-amz-version-id"] = entry.pin.removeprefix(VERSION)
        elif entry.pin.startswith(ETAG):
            headers["If-Match"] = expect["ETag"] = entry.pin.removeprefix(ETAG)
        else:
            raise SourceInvalid(f"{self._shown(entry)} has the pin {entry.pin[:80]!r}, which is none of S3's")

        def sign() -> str:
            with s3_errors(self._shown(entry)):
                return self._ready().signer.url(entry.key, version)

        yield SignedReader(self._pool, Pinned(sign, entry.size, headers, expect, _SIGNED_FOR / 2))

    def close(self) -> None:
        self._pool.close()
        with self._lock:
            if self._made is not None:
                self._made.client.close()

    def _ready(self) -> "_Ready":
        with self._lock:
            if self._made is None:
                with s3_errors(shown_place(self._access, self._bucket)):
                    client, credentials = make_service(self._access, self._bucket, self._limits)
                self._made = _Ready(client, Signer(client, self._bucket, credentials, _SIGNED_FOR))
            return self._made

    def _shown(self, entry: Entry) -> str:
        return shown_place(self._access, self._bucket, entry.key[-200:])
