"""A connection to an HTTP server, verified, through the environment's proxies: one question at a time."""

import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from socket import MSG_WAITALL, SHUT_RDWR, SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET, socket

from csi_model.sources import http_head
from csi_model.sources.http_server import Proxy, Server, place_of

_STALLED = "nothing came for too long"


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """How patient a pool is."""

    connect: float = 10.0
    """Seconds for a TCP connection and the TLS handshake."""

    silence: float = 30.0
    """Seconds without a single byte after which an answer counts as stalled."""

    slow_window: float = 60.0
    """Seconds over which the minimum rate is measured."""

    slow_rate: float = 4096.0
    """Bytes per second that an answer must bring over a window: a server that trickles would hold a stream for ever."""

    idle: int = 16
    """Connections kept for later use per server; above the number of requests that a node has in flight."""


class Connection:
    """One connection to a server, direct or through a proxy.

    Attributes:
        server: whom it leads to.
        used: whether it has brought a whole answer before.
        aborted: whether :meth:`abort` was called.

    """

    def __init__(self, server: Server, limits: HttpLimits, tls: ssl.SSLContext | None) -> None:
        self.server = server
        self.used = False
        self.aborted = False
        self._limits = limits
        self._headers: dict[str, str] = {}
        self._absolute = ""
        self._memory = bytearray(http_head.LARGEST)
        proxy = Proxy.for_server(server)
        host, port = (proxy.host, proxy.port) if proxy else (server.host, server.port)
        if tls is not None:  # http.client connects, verifies, and asks a proxy for a tunnel; the rest is ours
            self._http: HTTPConnection = HTTPSConnection(host, port, timeout=limits.connect, context=tls)
            if proxy:
                self._http.set_tunnel(server.host, server.port, headers=proxy.headers)
        else:
            self._http = HTTPConnection(host, port, timeout=limits.connect)
            if proxy:
                self._absolute, self._headers = str(server), proxy.headers
        try:
            self._http.connect()
        except BaseException:
            self._http.close()
            raise
        self._sock: socket = self._http.sock
        self._all = 0  # recv(2)'s flags for a whole view
        if tls is not None:
            self._sock.settimeout(limits.silence)
        else:
            # a receive has to end in time for a look at the rate as well
            self._let_the_kernel_wait(min(limits.silence, limits.slow_window))

    def _let_the_kernel_wait(self, seconds: float) -> None:
        """Have timeouts without Python's: those poll before each receive, and a receive then gives what has come.

        So a block of 1 MiB takes one call that hands the interpreter's lock over once, not ten. (SSL_read gives a
        record of 16 KiB in any case, and Python's TLS would wait for ever.)
        """
        self._sock.settimeout(None)
        timeout = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))  # struct timeval, socket(7)
        for option in (SO_RCVTIMEO, SO_SNDTIMEO):
            self._sock.setsockopt(SOL_SOCKET, option, timeout)
        self._all = MSG_WAITALL

    def ask(self, url: str, headers: Mapping[str, str]) -> tuple[http_head.Head, memoryview]:
        """Ask for a URL of this server.

        Returns:
            The answer's head, and what has come of its body: valid until the next question.

        Raises:
            OSError, http.client.HTTPException: no answer, or none that can be understood.
            ValueError: what is asked for can't be put into a request.

        """
        rest = url[len(place_of(url)) :].partition("#")[0]
        target = self._absolute + (rest if rest.startswith("/") else f"/{rest}")
        host = self.server.authority
        host = host if host.isascii() else host.encode("idna").decode()
        try:
            self._sock.sendall(http_head.request(target, host, {**self._headers, **headers}.items()))
        except BlockingIOError:
            raise TimeoutError(_STALLED) from None
        return http_head.receive(self.some, self._memory, self._limits.slow_window)

    def fill(self, view: memoryview) -> int:
        """Receive into a view, as much of it as comes in time.

        Returns:
            How many bytes have come, at least one; 0 at the connection's end.

        Raises:
            TimeoutError: nothing came for too long.
            OSError: the connection is reset.

        """
        return self._receive(view, self._all)

    def some(self, view: memoryview) -> int:
        """Receive what has come, or what comes first, into a view; otherwise as :meth:`fill`."""
        return self._receive(view, 0)

    def _receive(self, view: memoryview, flags: int) -> int:
        try:
            return self._sock.recv_into(view, len(view), flags)
        except BlockingIOError:  # what the kernel says of its own timeouts
            raise TimeoutError(_STALLED) from None

    def abort(self) -> None:
        """Make a read that another thread waits in return at once."""
        self.aborted = True
        try:
            # Not SSLSocket's own shutdown: it forgets the session first, and the reader would be given the
            # encrypted bytes that the kernel still has, as if they were the object's.
            socket.shutdown(self._sock, SHUT_RDWR)
        except OSError:
            return  # it is closed or reset already

    def close(self) -> None:
        """Close it; may be repeated."""
        self._http.close()
