"""The demo's child processes: the S3 server, the driver, and pods that read."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from csi_model.errors import CsiModelError

_PATIENCE = 10.0  # seconds that a child has to end by itself
_BLOCK = 1024 * 1024  # bytes handed to a socket at once
_LAST_LINES = 5
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ChildFailed(CsiModelError):
    """A child process ended with an error; the text has its last words."""


@contextmanager
def held_back() -> Iterator[None]:
    """Let signals wait while a block runs: what it makes must be noted before anything can unwind. Main thread only."""
    held: list[int] = []
    handlers = {number: signal.signal(number, lambda caught, _: held.append(caught)) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for caught in held:
        signal.raise_signal(caught)


@contextmanager
def child(module: str, *arguments: str | Path, log: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run a Python module beside us; ended with SIGTERM when the block ends, and with SIGKILL if that doesn't do.

    Args:
        module: what ``python -m`` runs.
        arguments: its command line.
        log: file for its standard error.

    Yields:
        The process; its standard output can be read.

    """
    with ExitStack() as stack:
        with held_back(), log.open("a") as errors:
            # A process group of its own: Ctrl-C is for us, who end the children in order.
            process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, process_group=0,
            )  # fmt: skip
            stack.callback(_end, process)
        yield process


def _end(process: "subprocess.Popen[str]") -> None:
    with held_back(), process:  # also against a second Ctrl-C
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()


def output_of(process: "subprocess.Popen[str]") -> IO[str]:
    """Return a child's standard output."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    return process.stdout


@contextmanager
def s3_server(directory: Path, bucket: str) -> Iterator[str]:
    """Run the embedded S3 server with a versioned bucket; yields its URL."""
    log = directory / "s3.log"
    with child(
        "csi_model.demo.s3server", "--dir", directory / "s3", "--bucket", f"{bucket}:versioned", log=log
    ) as server:
        url = output_of(server).readline().strip()
        if not url:
            raise ChildFailed(f"the S3 server didn't start: {last_words(log)}")
        yield url


def upload(url: str, bucket: str, prefix: str, files: Sequence[Path]) -> None:
    """Put files into a bucket of the embedded S3 server.

    Raises:
        ChildFailed: the server refused.

    """
    connection = HTTPConnection(urlsplit(url).netloc, blocksize=_BLOCK)
    try:
        for path in files:
            with path.open("rb") as body:
                size = str(path.stat().st_size)
                connection.request("PUT", quote(f"/{bucket}/{prefix}/{path.name}"), body, {"Content-Length": size})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status >= 300:  # noqa: PLR2004 - HTTP's own
                raise ChildFailed(f"the S3 server refused {path.name}: {said[:200]!r}")
    finally:
        connection.close()


def read_in_pod(target: Path, expected: Path | None, *, log: Path) -> dict[str, int]:
    """Let another process read a published model by mmap and check every tensor.

    Args:
        target: where it is published.
        expected: the file of what its tensors hold; None for a model that we didn't make.
        log: file for its standard error.

    Returns:
        ``files``, ``bytes``, ``tensors``, and the tensors ``compared``.

    Raises:
        ChildFailed: it found something wrong.

    """
    with child("csi_model.demo.reader", target, *([expected] if expected else []), log=log) as reader:
        said = output_of(reader).read()
        if reader.wait():
            raise ChildFailed(f"the pod can't use what is published at {target}: {last_words(log)}")
    found: dict[str, int] = json.loads(said)
    return found


def last_words(log: Path) -> str:
    """Return the last lines of a child's standard error."""
    return " | ".join(log.read_text().strip().splitlines()[-_LAST_LINES:]) or "it said nothing"
