"""Connections to HTTP servers: kept alive, one request at a time, verified, through the environment's proxies.

A connection is leased for one request. Whoever leased it gives it back after a complete answer, or drops it after
anything else: a connection in doubt is never used again.
"""

import base64
import itertools
import re
import ssl
import struct
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from socket import MSG_WAITALL, SHUT_RDWR, SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET, socket
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from csi_model.errors import SourceUnavailable
from csi_model.sources import http_head

if TYPE_CHECKING:
    from csi_model.sources.workers import Workers

_numbers = itertools.count()
_PLACE = re.compile(r"[A-Za-z]+://[^/?#]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}


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


@dataclass(frozen=True, slots=True)
class Server:
    """Whom a connection leads to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Server":
        """Take the server out of an ``http`` or ``https`` URL."""
        return _server(_place(url))

    @property
    def authority(self) -> str:
        """Host and port, the latter unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def _place(url: str) -> str:
    """Cut a URL off before its path."""
    match = _PLACE.match(url)
    return match[0] if match else url


@lru_cache(64)  # thousands of URLs lead to one server, and urlsplit takes as long as signing one
def _server(place: str) -> Server:
    parts = urlsplit(place)
    return Server(parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme])


@dataclass(frozen=True, slots=True)
class Proxy:
    """What stands between us and a server."""

    host: str
    port: int
    headers: dict[str, str]

    @classmethod
    def for_server(cls, server: Server) -> "Proxy | None":
        """Read HTTP_PROXY, HTTPS_PROXY and NO_PROXY; None means a direct connection.

        Raises:
            SourceUnavailable: the variable names a kind of proxy that can't be used.

        """
        url = getproxies_environment().get(server.scheme)
        if not url or proxy_bypass(f"{server.host}:{server.port}"):
            return None
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname:
            raise SourceUnavailable(
                f"{server.scheme.upper()}_PROXY doesn't name an http:// proxy, the only kind supported"
            )
        headers = {}
        if parts.username:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Proxy-Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        return cls(parts.hostname, parts.port or _DEFAULT_PORTS["http"], headers)


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
        self._nothing = "nothing came for too long"
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
        rest = url[len(_place(url)) :].partition("#")[0]
        target = self._absolute + (rest if rest.startswith("/") else f"/{rest}")
        host = self.server.authority
        host = host if host.isascii() else host.encode("idna").decode()
        try:
            self._sock.sendall(http_head.request(target, host, {**self._headers, **headers}.items()))
        except BlockingIOError:
            raise TimeoutError(self._nothing) from None
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
            raise TimeoutError(self._nothing) from None

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


class HttpPool:
    """Kept-alive connections per server. Safe to use from several threads.

    Args:
        ca_bundle: file with the authorities to trust instead of the system's.
        limits: how patient it is.
        workers: processes that read over TLS in its place, each with a like pool of its own.

    Attributes:
        number: tells this process's pools apart.

    """

    def __init__(
        self, ca_bundle: Path | None = None, limits: HttpLimits | None = None, workers: "Workers | None" = None
    ) -> None:
        self.number = next(_numbers)
        self.ca_bundle = ca_bundle
        self.limits = limits or HttpLimits()
        self.workers = workers
        self._lock = threading.Lock()
        self._idle: defaultdict[Server, list[Connection]] = defaultdict(list)
        self._leased: set[Connection] = set()
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    def lease(self, server: Server) -> Connection:
        """Take an idle connection, or make one.

        Raises:
            OSError, http.client.HTTPException: it can't be made.
            SourceUnavailable: the pool is closed, or its authorities' file can't be read.

        """
        with self._lock:
            if self._closed:
                raise SourceUnavailable(f"connections to {server} are closed")
            idle = self._idle[server]
            connection = idle.pop() if idle else None
            if connection is not None:
                self._leased.add(connection)
        if connection is None:
            connection = Connection(server, self.limits, self._context() if server.scheme == "https" else None)
            with self._lock:
                self._leased.add(connection)
                if self._closed:
                    connection.abort()
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose answer was read to the end."""
        connection.used = True
        with self._lock:
            self._leased.discard(connection)
            idle = self._idle[connection.server]
            if not self._closed and len(idle) < self.limits.idle:
                idle.append(connection)
                return
        connection.close()

    def drop(self, connection: Connection) -> None:
        """Close a connection that is in doubt."""
        with self._lock:
            self._leased.discard(connection)
        connection.close()

    def close(self) -> None:
        """Close what is idle and make requests that are under way fail soon."""
        if self.workers is not None:
            self.workers.close_pool(self)
        with self._lock:
            self._closed = True
            idle = [connection for connections in self._idle.values() for connection in connections]
            self._idle.clear()
            for connection in self._leased:
                connection.abort()
        for connection in idle:
            connection.close()

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                try:
                    self._tls = ssl.create_default_context(cafile=self.ca_bundle)
                except OSError as error:
                    raise SourceUnavailable(f"the CA bundle {self.ca_bundle} can't be read: {error}") from error
            return self._tls
