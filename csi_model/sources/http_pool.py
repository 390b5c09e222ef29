"""Connections to HTTP servers that are kept alive.

A connection is leased for one request. Whoever leased it gives it back after a complete answer, or drops it after
anything else: a connection in doubt is never used again.
"""

import itertools
import ssl
import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from csi_model.errors import SourceUnavailable
from csi_model.sources.http_connection import Connection, HttpLimits
from csi_model.sources.http_server import Server

if TYPE_CHECKING:
    from csi_model.sources.workers import Workers

_numbers = itertools.count()


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
