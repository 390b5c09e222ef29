"""What models are served from: MinIO as the real object store and nginx as the leanest server, plain and over TLS."""

import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import psutil
import trustme

from bench import children, fetch_tools
from csi_model.demo.children import last_words

BUCKET = "models"
ACCESS_KEY, SECRET_KEY = "bench-access", "bench-secret-key"
_START = 30.0  # seconds
_PAUSE = 0.05


class ServerFailed(Exception):
    """A server didn't start; the text has its last words."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Who vouches for the servers: a PEM to trust, and their certificate with its key."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def made_in(cls, folder: Path) -> "Authority":
        """Make a certificate for localhost and 127.0.0.1."""
        made = cls(folder / "ca.pem", folder / "public.crt", folder / "private.key")  # MinIO wants these names
        authority = trustme.CA()
        issued = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(made.ca)
        issued.private_key_pem.write_to_path(made.key)
        made.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return made


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs: its kind ("s3" or "http"), name, URL, PEM to trust (TLS only), and main process."""

    name: str
    kind: str
    url: str
    ca: Path | None
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Return what it has used so far, user and system, with its workers."""
        return children.usage(self.process)


@contextmanager
def minio(data: Path, authority: Authority | None, work: Path) -> Iterator[Server]:
    """Run MinIO on a directory, over TLS if there is an authority; ServerFailed, NotFetched."""
    port = _free_port()
    certificates = authority.certificate.parent if authority else work / "no-certificates"
    certificates.mkdir(exist_ok=True)
    command: list[str | Path] = [
        fetch_tools.minio(), "server", "--quiet", "--address", f"127.0.0.1:{port}", "--certs-dir", certificates, data,
    ]  # fmt: skip
    environment = children.clean_environment(
        MINIO_ROOT_USER=ACCESS_KEY,
        MINIO_ROOT_PASSWORD=SECRET_KEY,
        MINIO_BROWSER="off",
        MINIO_CI_CD="on",  # the data may lie on the root filesystem
        MINIO_API_ODIRECT="off",  # serve from the page cache: the disk is for those who are measured
    )
    with _running("minio", "s3", command, port, authority=authority, work=work, environment=environment) as server:
        _wait(server, "/minio/health/live", work)
        yield server


@contextmanager
def nginx(folder: Path, authority: Authority | None, work: Path) -> Iterator[Server]:
    """Run nginx on a directory, over TLS if there is an authority; ServerFailed, NotFetched."""
    port = _free_port()
    config = work / "nginx.conf"
    config.write_text(_nginx_config(folder, port, authority, work))
    command: list[str | Path] = [fetch_tools.packaged("nginx"), "-p", work, "-c", config, "-e", work / "nginx.log"]
    with _running("nginx", "http", command, port, authority=authority, work=work) as server:
        _wait(server, "/", work)
        yield server


@contextmanager
def _running(
    name: str, kind: str, command: Sequence[str | Path], port: int, *,
    authority: Authority | None, work: Path, environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:  # fmt: skip
    with children.child(command, log=work / f"{name}.log", environment=environment, cwd=work) as process:
        url = f"{'https' if authority else 'http'}://127.0.0.1:{port}"
        yield Server(name, kind, url, authority.ca if authority else None, psutil.Process(process.pid))


def _nginx_config(folder: Path, port: int, authority: Authority | None, work: Path) -> str:
    tls = f"ssl_certificate {authority.certificate}; ssl_certificate_key {authority.key};" if authority else ""
    temporary = "".join(
        f"{kind}_temp_path {work}/nginx-temporary;\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
        {"user root;" if os.geteuid() == 0 else ""}
        daemon off;
        worker_processes auto;
        error_log {work}/nginx.log;
        pid {work}/nginx.pid;
        events {{ worker_connections 1024; }}
        http {{
            {temporary}
            access_log off;
            sendfile on;
            tcp_nopush on;
            keepalive_requests 1000000;
            default_type application/octet-stream;
            server {{
                listen 127.0.0.1:{port} {"ssl" if authority else ""};
                {tls}
                root {folder};
            }}
        }}
    """


def _wait(server: Server, path: str, work: Path) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and server.process.status() != psutil.STATUS_ZOMBIE:
        try:
            _ask(server, path)
        except OSError:
            time.sleep(_PAUSE)  # it gives no other sign
        else:
            return
    raise ServerFailed(f"{server.name} doesn't answer at {server.url}: {last_words(work / f'{server.name}.log')}")


def _ask(server: Server, path: str) -> None:
    host = server.url.partition("://")[2]
    if server.ca:
        connection: HTTPConnection = HTTPSConnection(host, context=ssl.create_default_context(cafile=server.ca))
    else:
        connection = HTTPConnection(host)
    connection.timeout = _START
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # not yet
            raise ConnectionError(answer.status)
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
