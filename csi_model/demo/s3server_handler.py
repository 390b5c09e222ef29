"""One connection to the embedded S3 server: requests in, answers out, bytes of objects by sendfile."""

import json
import re
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from csi_model.demo.s3server_auth import Signed, is_signed, split_query, verify
from csi_model.demo.s3server_digests import ALGORITHMS
from csi_model.demo.s3server_objects import Bucket, S3Failure, Stored
from csi_model.demo.s3server_xml import attributes_document, error_document, listing_document

if TYPE_CHECKING:
    from csi_model.demo.s3server_http import HttpServer

_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_ORIGIN = re.compile(r"\Ahttps?://[^/]*")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,62}\Z")


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    server_version = "csi-model-s3"
    disable_nagle_algorithm = True
    server: "HttpServer"

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_HEAD(self) -> None:
        self._answered(self._get)

    def do_PUT(self) -> None:
        self._answered(self._put)

    def do_DELETE(self) -> None:
        self._answered(self._delete)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class named it)
        """Say nothing on stderr: the server keeps its own list of requests."""

    def _answered(self, answer: Callable[[], None]) -> None:
        path, _, query = _ORIGIN.sub("", self.path).partition("?")  # proxies may send the whole URL
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.request_ = Signed(self.command, path, split_query(query), headers)
        bucket, _, key = unquote(path.removeprefix("/"), errors="surrogateescape").partition("/")
        self.bucket_name, self.key = bucket, key
        try:
            self._authorize()
            answer()
        except S3Failure as failure:
            self.close_connection = self.close_connection or self.command == "PUT"  # its body was not read
            self._send(failure.status, error_document(failure.code, failure.message, path), type_="application/xml")
        except ConnectionError:
            self.close_connection = True  # the client left, which is its right

    def _authorize(self) -> None:
        place, bucket = self.server.place, self.server.place.buckets.get(self.bucket_name)
        if is_signed(self.request_):
            if place.keys:
                verify(self.request_, place.keys, place.clock())
        elif place.keys and not (bucket is not None and bucket.public and self.command in ("GET", "HEAD")):
            raise S3Failure(403, "AccessDenied", "Access Denied")
        if place.denies(self.command, self.bucket_name, self.key):
            raise S3Failure(403, "AccessDenied", "Access Denied")

    def _bucket(self) -> Bucket:
        bucket = self.server.place.buckets.get(self.bucket_name)
        if bucket is None:
            raise S3Failure(404, "NoSuchBucket", "The specified bucket does not exist")
        return bucket

    def _get(self) -> None:
        bucket, names = self._bucket(), {name for name, _ in self.request_.query}
        if not self.key:
            listing = listing_document(bucket, self.request_) if self.command == "GET" else b""
            self._send(200, listing, type_="application/xml")
            return
        stored = bucket.get(self.key, self.request_.argument("versionId") or None)
        match = self.request_.headers.get("if-match", "*")
        if match.strip('"') not in ("*", stored.etag):
            raise S3Failure(412, "PreconditionFailed", "At least one of the preconditions you specified did not hold")
        if "attributes" in names:
            self._send(200, attributes_document(stored, self.request_), type_="application/xml")
            return
        self._send_object(bucket, stored)

    def _send_object(self, bucket: Bucket, stored: Stored) -> None:
        start, length = self._span(stored)
        headers = {"ETag": f'"{stored.etag}"', "Accept-Ranges": "bytes"}
        headers["Last-Modified"] = formatdate(stored.modified, usegmt=True)
        if stored.version != "null":
            headers["x-amz-version-id"] = stored.version
        ranged = "range" in self.request_.headers
        # a checksum of the whole object says nothing about a part of it
        asked = self.request_.headers.get("x-amz-checksum-mode") == "ENABLED" and not ranged
        headers |= {k: v for k, v in stored.headers.items() if asked or not k.startswith("x-amz-checksum")}
        if ranged:
            headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{stored.size}"
        headers["Content-Length"] = str(length)
        with bucket.open(stored) as file:
            self._head(206 if ranged else 200, headers)
            if self.command == "GET":
                for offset, count in self.server.place.paced(start, length):
                    self.connection.sendfile(file, offset, count)

    def _span(self, stored: Stored) -> tuple[int, int]:
        if "range" not in self.request_.headers:
            return 0, stored.size
        match = _RANGE.match(self.request_.headers["range"])
        if match is None or not (match[1] or match[2]):
            raise S3Failure(400, "InvalidArgument", "The range is malformed.")
        last = stored.size - 1
        if match[1]:
            start, end = int(match[1]), min(int(match[2] or last), last)
        else:
            start, end = max(0, stored.size - int(match[2])), last
        if start > end:
            raise S3Failure(416, "InvalidRange", "The requested range is not satisfiable")
        return start, end - start + 1

    def _put(self) -> None:
        place, headers = self.server.place, self.request_.headers
        if not self.key:
            if not _BUCKET.match(self.bucket_name):
                raise S3Failure(400, "InvalidBucketName", "The specified bucket is not valid.")
            self.rfile.read(int(headers.get("content-length", "0")))
            if self.bucket_name not in place.buckets:
                place.create_bucket(self.bucket_name)
            self._send(200, b"")
            return
        if "content-length" not in headers or "aws-chunked" in headers.get("content-encoding", ""):
            raise S3Failure(501, "NotImplemented", "Bodies are taken whole, with a Content-Length.")
        stated = {name: value for name in ALGORITHMS if (value := headers.get(f"x-amz-checksum-{name}"))}
        algorithm = next(iter(stated), "crc64nvme")
        try:
            stored = self._bucket().put(self.key, self.rfile, int(headers["content-length"]), checksum=algorithm)
        except EOFError as error:
            raise S3Failure(400, "IncompleteBody", "The body ended early.") from error
        if stated and stored.headers[f"x-amz-checksum-{algorithm}"] != stated[algorithm]:
            self._bucket().delete(self.key, stored.version)
            raise S3Failure(400, "BadDigest", "The checksum does not match the body.")
        version = {} if stored.version == "null" else {"x-amz-version-id": stored.version}
        self._send(200, b"", {"ETag": f'"{stored.etag}"', **version, **stored.headers})

    def _delete(self) -> None:
        self._bucket().delete(self.key, self.request_.argument("versionId") or None)
        self._head(204, {})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, type_: str = "") -> None:
        kind = {"Content-Type": type_} if type_ else {}
        self._head(status, {**(headers or {}), **kind, "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.server.place.note(self.command, self.bucket_name, self.key, self.request_.headers.get("range"), status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def log_line(fields: dict[str, Any]) -> str:
    """Render one request for the log file."""
    return json.dumps(fields, separators=(",", ":")) + "\n"
