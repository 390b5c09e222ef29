"""Whom a URL leads to, and what stands in between."""

import base64
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from csi_model.errors import SourceUnavailable

_PLACE = re.compile(r"[A-Za-z]+://[^/?#]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Server:
    """Whom a connection leads to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Server":
        """Take the server out of an ``http`` or ``https`` URL."""
        return _server(place_of(url))

    @property
    def authority(self) -> str:
        """Host and port, the latter unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def place_of(url: str) -> str:
    """Cut a URL off before its path, query or fragment."""
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
