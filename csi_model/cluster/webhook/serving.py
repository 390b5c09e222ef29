"""Serving: an HTTPS server for the API server's calls, which keep their connections open for a long time.

Each connection has a thread; there are at most so many. One more takes the place of the one that has been silent the
longest, or else of the one that has taken the longest to ask; while all are being answered it is refused, and the API
server lets its pod through as it came. A request has a few seconds to arrive,
a silent connection is kept longer than the API server keeps it (90 s), so that it isn't closed under a request's feet.
The certificate is asked for with each connection, so a new one disturbs nobody.
"""

import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

PATH = "/mutate"
MAX_BODY = 3 * 1024 * 1024
"""Bytes of a request: what the API server itself takes."""
_CONNECTIONS = 128  # more than may wait for a claim, so that others find a free one
_PATIENCE = 5.0  # seconds for a handshake, for a request to arrive, and for an answer to be taken
_SILENCE = 120.0  # seconds
_POLL = 0.2  # seconds between two looks for connections that are too slow
_END = 4.0  # seconds for answers that are being made when the server ends
Review = Callable[[bytes], bytes]


class Phase(Enum):
    """What a connection is doing."""

    SILENT = "silent"
    ARRIVING = "arriving"  # a handshake or a request
    ANSWERING = "answering"


class WebhookServer:
    """Serves ``POST /mutate``. Answers from :meth:`start` on.

    Args:
        listener: listens already.
        review: makes the answer to a request's body; raises ValueError if there is none.
        certificate: gives the certificate to serve with; None while there is none.
        connections: at once, at most.
        patience: seconds for a request to arrive.
        silence: seconds between two requests.

    """

    def __init__(
        self,
        listener: socket.socket,
        review: Review,
        certificate: Callable[[], ssl.SSLContext | None],
        *,
        connections: int = _CONNECTIONS,
        patience: float = _PATIENCE,
        silence: float = _SILENCE,
    ) -> None:
        self._server = _Server(listener, review, certificate, connections, {
            Phase.ARRIVING: patience, Phase.SILENT: silence,
        })  # fmt: skip
        self.port: int = listener.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": _POLL}, name="webhook", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self, timeout: float = _END) -> None:
        """End; answers that are being made are given first.

        Args:
            timeout: seconds for them.

        """
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.end(timeout)


class _Server(socketserver.TCPServer):
    """Connections, their threads, and who has to go."""

    request_queue_size = 128

    def __init__(
        self,
        listener: socket.socket,
        review: Review,
        certificate: Callable[[], ssl.SSLContext | None],
        connections: int,
        limits: dict[Phase, float],
    ) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()  # the base class makes one in any case
        self.socket = listener
        self.review, self._certificate = review, certificate
        self._connections, self._limits = connections, limits
        self._changed = threading.Condition()
        self._phases: dict[socket.socket, tuple[Phase, float]] = {}  # and since when, the oldest first
        self._ending = False

    def process_request(self, request: Any, client_address: Any) -> None:
        context = self._certificate()
        with self._changed:
            if context is None or (len(self._phases) >= self._connections and not self._drop_one()):
                self.shutdown_request(request)
                return
            request.settimeout(self._limits[Phase.ARRIVING])
            connection = context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            self._phases[connection] = (Phase.ARRIVING, time.monotonic())
        try:
            threading.Thread(
                target=self._converse, args=(connection, client_address), name="webhook", daemon=True
            ).start()  # fmt: skip
        except RuntimeError:  # no more threads
            self._forget(connection)

    def service_actions(self) -> None:
        """Hang up on those that take too long."""
        with self._changed:
            now = time.monotonic()
            for connection, (phase, since) in list(self._phases.items()):
                if phase in self._limits and now - since > self._limits[phase]:
                    _hang_up(connection)

    def enter(self, connection: socket.socket, phase: Phase) -> bool:
        """Note what a connection is doing now; tell whether it may go on."""
        with self._changed:
            if connection not in self._phases:
                return False
            del self._phases[connection]
            self._phases[connection] = (phase, time.monotonic())
            return not (self._ending and phase is Phase.SILENT)

    def end(self, timeout: float) -> None:
        """Let go of every connection, of those that are being answered when they are."""
        with self._changed:
            self._ending = True
            for connection, (phase, _) in self._phases.items():
                if phase is not Phase.ANSWERING:
                    _hang_up(connection)
            if not self._changed.wait_for(lambda: not self._phases, timeout):
                for connection in self._phases:
                    _hang_up(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up in the middle."""

    def _converse(self, connection: ssl.SSLSocket, client_address: Any) -> None:
        try:
            with suppress(OSError):  # it hung up, or speaks no TLS
                connection.do_handshake()
                self.finish_request(connection, client_address)
        finally:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            self._forget(connection)

    def _forget(self, connection: ssl.SSLSocket) -> None:
        with self._changed:  # nobody hangs up on a descriptor that is another's by then
            connection.close()
            self._phases.pop(connection, None)
            self._changed.notify_all()

    def _drop_one(self) -> bool:
        for dispensable in (Phase.SILENT, Phase.ARRIVING):
            for connection, (phase, _) in self._phases.items():
                if phase is dispensable:
                    _hang_up(connection)
                    del self._phases[connection]
                    return True
        return False


def _hang_up(connection: socket.socket) -> None:
    """Wake its thread, which closes it; past TLS, whose state belongs to that thread."""
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One connection, one request after the other."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "csi-model", ""
    wbufsize = -1  # an answer is one write
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        if self.server.enter(self.connection, Phase.SILENT):
            self.connection.settimeout(None)  # the server's own look ends it
            if self.rfile.peek(1):  # type: ignore[attr-defined]  # a BufferedReader, which typeshed doesn't say
                self.connection.settimeout(_PATIENCE)
                self.server.enter(self.connection, Phase.ARRIVING)
                super().handle_one_request()
                return
        self.close_connection = True

    def do_POST(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        length = self.headers.get("Content-Length") or ""
        if not length.isascii() or not length.isdigit() or self.headers.get("Transfer-Encoding"):
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return
        if len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            self.close_connection = True
            return
        self.server.enter(self.connection, Phase.ANSWERING)
        try:
            answer = self.server.review(body)
        except ValueError as error:
            self._answer(HTTPStatus.BAD_REQUEST, f"{error}\n".encode(), "text/plain; charset=utf-8")
            return
        self._answer(HTTPStatus.OK, answer, "application/json")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer what is no proper request, and hang up; nothing of the request comes back."""
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self.close_connection = True
        self._answer(status, f"{status.phrase}; there is POST {PATH}\n".encode(), "text/plain; charset=utf-8")

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Log nothing: what is sent here may hold secrets."""
