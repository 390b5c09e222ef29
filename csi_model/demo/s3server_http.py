"""The threads and connections of the embedded S3 server."""

import socket
import ssl
import sys
import threading
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from csi_model.demo.s3server_handler import Handler

if TYPE_CHECKING:
    from csi_model.demo.s3server import S3Server


class HttpServer(ThreadingHTTPServer):
    """Serves a place; knows its open connections, so that it can end."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], place: "S3Server", tls: ssl.SSLContext | None) -> None:
        self.place = place
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet about clients that leave in the middle of something."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """End all connections, so that their threads end."""
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # it is gone already
