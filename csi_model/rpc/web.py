"""A small HTTP server for probes and metrics, which nobody can keep from answering by being slow.

Each connection has a thread, one request and a few seconds. There are at most so many connections: one more takes the
place of the oldest that hasn't said what it wants, so clients that say nothing, or say it byte by byte, lose to those
that ask. Only GET and HEAD, only the pages it was given; nothing is read from any disk.
"""

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from csi_model.errors import InvalidArgument, StoreUnusable

TEXT = "text/plain; charset=utf-8"
_CONNECTIONS = 32
_PATIENCE = 5.0  # seconds for a request to arrive, and for an answer to be taken
_POLL = 0.2  # seconds between two looks for connections that are too slow


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page says.

    Attributes:
        status: HTTP's number.
        body: its bytes.
        content_type: of the body.

    """

    status: int
    body: bytes
    content_type: str = TEXT


Pages = Mapping[str, Callable[[], Answer]]


class WebServer:
    """Serves pages at an address. Listens from the beginning; answers from :meth:`start` on.

    Args:
        address: ``ADDRESS:PORT``; without an address all of the machine's, with ``[…]`` around one of IPv6.
        pages: by path.
        connections: at once, at most.
        patience: seconds for a request to arrive.

    Raises:
        InvalidArgument: it is no such address.
        StoreUnusable: nobody can listen there.

    """

    def __init__(
        self, address: str, pages: Pages, *, connections: int = _CONNECTIONS, patience: float = _PATIENCE
    ) -> None:
        self._server = _Server(listen(address, "http"), pages, connections, patience)
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": _POLL}, name="http", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """End; a page that is just being made is left."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.drop(0)


class _Server(socketserver.TCPServer):
    """Connections, their threads, and who has to go."""

    request_queue_size = 64

    def __init__(self, listener: socket.socket, pages: Pages, connections: int, patience: float) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()  # the base class makes one in any case
        self.socket = listener
        self.pages = pages
        self._connections, self._patience = connections, patience
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}  # since when, in that order
        self._asking: set[socket.socket] = set()  # those that haven't said what they want

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            if len(self._open) >= self._connections and not self._drop_oldest():
                self.shutdown_request(request)
                return
            self._open[request] = time.monotonic()
            self._asking.add(request)
        threading.Thread(target=self._converse, args=(request, client_address), name="http", daemon=True).start()

    def service_actions(self) -> None:
        self.drop(self._patience)

    def drop(self, patience: float) -> None:
        """Hang up on those that take longer than so many seconds to ask."""
        with self._lock:
            since = time.monotonic() - patience
            for connection in [c for c in self._asking if self._open[c] <= since]:
                self._hang_up(connection)

    def asked(self, connection: socket.socket) -> None:
        """Note that a connection said what it wants."""
        with self._lock:
            self._asking.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up in the middle."""

    def _converse(self, request: socket.socket, client_address: Any) -> None:
        try:
            with suppress(OSError):
                request.settimeout(self._patience)
                self.finish_request(request, client_address)
        finally:
            with self._lock:
                self._open.pop(request, None)
                self._asking.discard(request)
            self.shutdown_request(request)

    def _drop_oldest(self) -> bool:
        oldest = next((connection for connection in self._open if connection in self._asking), None)
        if oldest is None:
            return False
        self._hang_up(oldest)
        del self._open[oldest]
        return True

    def _hang_up(self, connection: socket.socket) -> None:
        """Wake its thread, which closes it."""
        self._asking.discard(connection)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One connection, one request."""

    server: _Server
    server_version, sys_version = "csi-model", ""

    def do_GET(self) -> None:
        self.server.asked(self.connection)
        page = self.server.pages.get(urlsplit(self.path).path)
        paths = ", ".join(self.server.pages)
        answer = page() if page else Answer(HTTPStatus.NOT_FOUND, f"not found; there are {paths}\n".encode())
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer what is no GET or HEAD, or no HTTP; nothing of the request comes back."""
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        body = f"{status.phrase}\n".encode()
        self.send_response(status)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.send_header("Content-Type", TEXT)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Log nothing: probes come every few seconds."""


def listen(address: str, field: str) -> socket.socket:
    """Listen at ``ADDRESS:PORT``, as :class:`WebServer` has it.

    Args:
        address: where.
        field: the option's name.

    Raises:
        InvalidArgument: it is no such address.
        StoreUnusable: nobody can listen there.

    """
    host, port = _parse(address, field)
    try:
        return _listener(host, port)
    except (OSError, UnicodeError) as error:
        raise StoreUnusable(f"can't listen on {address} for {field}: {error}") from error


def _parse(address: str, field: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - TCP's own number
        raise InvalidArgument(field, f"{address[:200]!r} is no address: say :9808 or 127.0.0.1:9808")
    bare = host.removeprefix("[").removesuffix("]")
    if (":" in bare) != (host == f"[{bare}]"):
        raise InvalidArgument(field, f"{address[:200]!r} is no address: say [::1]:9808")
    return bare, int(port)


def _listener(host: str, port: int) -> socket.socket:
    """Listen; on every address of both IP versions if none is named and the machine has both."""
    if not host:
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        return socket.create_server(("", port), family=family, dualstack_ipv6=dual, backlog=_Server.request_queue_size)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_Server.request_queue_size)
