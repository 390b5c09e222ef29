"""Requests to the API server, as raw JSON over connections that are kept."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

Json = dict[str, Any]
JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_TIMEOUT = 60.0  # seconds
_IDLE = 20.0  # seconds; the API server closes connections that nobody uses for 90
_PAGE = 500  # objects of a list
_NOT_FOUND = 404


class Refused(Exception):
    """The API server refused a request; the text has what it said."""


class Client:
    """The API server, for a user with a certificate; each thread has a connection of its own.

    Args:
        port: of 127.0.0.1.
        authority: certificate to trust.
        certificate: of the user.
        key: to that certificate.

    """

    def __init__(self, port: int, authority: Path, certificate: Path, key: Path) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(authority))
        self._context.load_cert_chain(certificate, key)
        self._local = threading.local()

    def get(self, path: str, **query: str) -> Json:
        return self._json("GET", path, query=query)

    def text(self, path: str) -> str:
        return self._send("GET", path, {}).decode()

    def find(self, path: str) -> Json | None:
        """Return an object; None if there is none."""
        try:
            return self._json("GET", path)
        except Refused as refusal:
            if refusal.args[1] == _NOT_FOUND:
                return None
            raise

    def create(self, path: str, body: Json, **query: str) -> Json:
        return self._json("POST", path, body=body, query=query)

    def patch(self, path: str, body: Json) -> Json:
        return self._json("PATCH", path, body=body, content=MERGE_PATCH)

    def delete(self, path: str) -> Json:
        return self._json("DELETE", path)

    def pages(self, path: str, accept: str = JSON) -> Iterator[Json]:
        """Yield a list's pages."""
        more = ""
        while True:
            query = {"limit": str(_PAGE)} | ({"continue": more} if more else {})
            page = self._json("GET", path, query=query, accept=accept)
            yield page
            more = page["metadata"].get("continue", "")
            if not more:
                return

    def watch(self, path: str, version: str, accept: str = JSON) -> "Watch":
        """Begin to watch from a resourceVersion on."""
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": "3600"}
        connection = self._connect()
        connection.request("GET", f"{path}?{urlencode(query)}", headers={"Accept": accept})
        return Watch(connection)

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()

    def _json(self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Json | None = None,
              content: str = JSON, accept: str = JSON) -> Json:  # fmt: skip
        url = f"{path}?{urlencode(query)}" if query else path
        sent = None if body is None else json.dumps(body).encode()
        answer: Json = json.loads(self._send(method, url, {"Accept": accept, "Content-Type": content}, sent))
        return answer

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> bytes:
        connection = self._connection()
        try:
            connection.request(method, url, body, headers)
            response = connection.getresponse()
            data: bytes = response.read()
        except (OSError, HTTPException):
            connection.close()  # the next request connects anew
            raise
        if response.status >= 300:  # noqa: PLR2004 - HTTP's own number
            text = f"{method} {url}: {response.status} {data[:1000].decode(errors='replace')}"
            raise Refused(text, response.status)
        return data

    def _connection(self) -> HTTPSConnection:
        """Return this thread's connection; a new one if the server may be about to close it."""
        connection, now = getattr(self._local, "connection", None), time.monotonic()
        if connection is None or now - self._local.used > _IDLE:
            self.close()
            connection = self._local.connection = self._connect()
        self._local.used = now
        return connection

    def _connect(self) -> HTTPSConnection:
        return HTTPSConnection("127.0.0.1", self._port, context=self._context, timeout=_TIMEOUT)


class Watch:
    """The events of one watch; ends when the server ends it or somebody closes it."""

    def __init__(self, connection: HTTPSConnection) -> None:
        self._connection = connection
        self._socket = connection.sock
        self._socket.settimeout(None)

    def __iter__(self) -> Iterator[tuple[str, Json]]:
        """Yield each event's type and object; ERROR ends it too."""
        try:
            with self._connection.getresponse() as response:
                while line := response.readline():
                    event = json.loads(line)
                    yield event["type"], event["object"]
        except (OSError, ValueError, HTTPException, AttributeError):
            return  # cut off, by us most likely

    def close(self) -> None:
        """End it from another thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
