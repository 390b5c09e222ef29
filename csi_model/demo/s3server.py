"""A small S3 server of our own: objects in a directory, for the demo, the tests and the benchmarks.

It knows buckets with and without versions, ranges, conditions, checksums, listings and signatures; it isn't meant to
hold anybody's data. In a process of its own::

    python -m csi_model.demo.s3server --dir DIR --bucket models --key ID:SECRET

prints its URL as one line when it is ready, and ends on SIGTERM or SIGINT. In a test::

    with S3Server(tmp_path) as server:
        server.create_bucket("models", versioned=True)
        server.put("models", "qwen/config.json", b"{}")
        ...  # server.url, server.requests
"""

import argparse
import io
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self, TextIO

from csi_model.demo.s3server_auth import Key
from csi_model.demo.s3server_handler import log_line
from csi_model.demo.s3server_http import HttpServer
from csi_model.demo.s3server_objects import Bucket, Stored

_SLICE = 256 * 1024  # bytes sent between two looks at the rate


class Request(NamedTuple):
    """A request that was answered: ``key`` is empty for the bucket itself, ``range`` is the header's text."""

    method: str
    key: str
    range: str | None


class S3Server:
    """Buckets behind a URL; a context manager.

    Args:
        directory: where the objects lie; made if missing, kept at the end.
        keys: access key id → Key. None known: every signature is believed and none is needed.
        rate: bytes per second that all answers together bring at most; None for no limit. May be set while serving.
        log: where each request is written to as a line of JSON.
        port: 0 for any.
        tls: serve HTTPS with this context.

    Attributes:
        requests: what was answered so far, in order.
        clock: gives the time that signatures are judged by, in seconds since the epoch.
        denied: (method, bucket, prefix of the key) that are refused whoever asks.

    """

    def __init__(
        self,
        directory: Path,
        *,
        keys: dict[str, Key] | None = None,
        rate: float | None = None,
        log: TextIO | None = None,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.keys = keys or {}
        self.rate = rate
        self.requests: list[Request] = []
        self.clock: Callable[[], float] = time.time
        self.denied: set[tuple[str, str, str]] = set()
        self.buckets = {path.parent.name: Bucket(path.parent) for path in directory.glob("*/bucket.json")}
        self._log = log
        self._lock = threading.Lock()
        self._busy_until = 0.0
        self._ending = threading.Event()
        self._http = HttpServer(("127.0.0.1", port), self, tls)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="s3server")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._http.shutdown()
        self._http.hang_up()
        self._http.server_close()
        self._thread.join()

    def create_bucket(self, name: str, *, versioned: bool = False, public: bool = False) -> Bucket:
        """Make a bucket, or change the settings of one."""
        self.buckets[name] = Bucket.create(self._directory / name, versioned=versioned, public=public)
        return self.buckets[name]

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes | Path,
        *,
        checksum: str | None = "crc64nvme",
        part_size: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> Stored:
        """Store an object, as if it had been uploaded.

        Args:
            bucket: an existing one.
            key: any text.
            data: the bytes, or the file that holds them.
            checksum: the algorithm of its checksum, or None for an object without.
            part_size: bytes per part of a multipart upload (ETag and checksum become composite), or None.
            headers: more headers for HEAD and GET to say.

        """
        source = io.BytesIO(data) if isinstance(data, bytes) else data.open("rb")
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        with source:
            return self.buckets[bucket].put(key, source, size, checksum=checksum, part_size=part_size, headers=headers)

    def delete(self, bucket: str, key: str, version: str | None = None) -> None:
        """Delete an object, or one version of it."""
        self.buckets[bucket].delete(key, version)

    def denies(self, method: str, bucket: str, key: str) -> bool:
        """Tell whether a request is refused whoever asks."""
        return any((method, bucket) == rule[:2] and key.startswith(rule[2]) for rule in self.denied)

    def note(self, method: str, bucket: str, key: str, range_: str | None, status: int) -> None:
        """Remember a request, before its answer is sent: who has the answer finds it noted."""
        with self._lock:
            self.requests.append(Request(method, key, range_))
            if self._log is not None:
                self._log.write(
                    log_line({"method": method, "bucket": bucket, "key": key, "range": range_, "status": status})
                )
                self._log.flush()

    def paced(self, start: int, length: int) -> Iterator[tuple[int, int]]:
        """Cut a span into (offset, count), each given when its time has come."""
        if self.rate is None:
            if length:
                yield start, length
            return
        for offset in range(start, start + length, _SLICE):
            count = min(_SLICE, start + length - offset)
            if (rate := self.rate) is not None:
                with self._lock:
                    self._busy_until = max(self._busy_until, time.monotonic()) + count / rate
                    wait = self._busy_until - time.monotonic()
                self._ending.wait(wait)
            yield offset, count


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m csi_model.demo.s3server", description="A small S3 server.")
    parser.add_argument("--dir", type=Path, required=True, help="where the objects lie")
    parser.add_argument("--port", type=int, default=0, help="0 for any")
    parser.add_argument("--bucket", action="append", default=[], metavar="NAME[:versioned][:public]")
    parser.add_argument(
        "--key", action="append", default=[], metavar="ID:SECRET", help="without any, nobody is refused"
    )
    parser.add_argument("--log", type=Path, help="file for one line of JSON per request")
    parser.add_argument("--rate", type=float, help="MB/s that all answers together bring at most")
    return parser.parse_args()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    arguments = _arguments()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    keys = {name: Key(secret) for name, _, secret in (text.partition(":") for text in arguments.key)}
    rate = arguments.rate * 1e6 if arguments.rate else None
    log = arguments.log.open("a") if arguments.log else None
    with S3Server(arguments.dir, keys=keys, rate=rate, log=log, port=arguments.port) as server:
        for text in arguments.bucket:
            name, *flags = text.split(":")
            server.create_bucket(name, versioned="versioned" in flags, public="public" in flags)
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    if log is not None:
        log.close()


if __name__ == "__main__":
    main()
