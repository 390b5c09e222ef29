"""A contender that keeps nothing: what a link can give to a reader that does nothing else.

Threads receive spans of 16 MiB, or whole small files, over kept connections, each into a buffer that stays in the
processor's cache. The bound is made of this (see bench/bound.py).
"""

import ssl
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

from bench.contenders import File, Job, Verdict, run
from csi_model.settings import MIB

SPAN = 16 * MIB
Spans = deque[tuple[str, int, int]]


def contend(job: Job) -> Iterator[Verdict | None]:
    spans = spans_of(job.files)
    context = ssl.create_default_context(cafile=job.ca) if job.ca else None
    with ThreadPoolExecutor(job.streams) as pool:
        yield None
        for future in [pool.submit(_worker, spans, context) for _ in range(job.streams)]:
            future.result()
    yield Verdict(note=f"{job.streams} threads, spans of 16 MiB, nothing kept", durable=False)


def spans_of(files: tuple[File, ...]) -> Spans:
    """Cut files into (URL, start, end)."""
    return deque(
        (file.url, start, min(start + SPAN, file.size)) for file in files for start in range(0, file.size, SPAN)
    )


def _worker(spans: Spans, context: ssl.SSLContext | None) -> None:
    buffer = memoryview(bytearray(MIB))
    connection: HTTPConnection | None = None
    try:
        while True:
            try:
                url, start, end = spans.popleft()
            except IndexError:
                return
            parts = urlsplit(url)
            connection = connection or _connection(parts.netloc, context)
            connection.request("GET", f"{parts.path}?{parts.query}", headers={"Range": f"bytes={start}-{end - 1}"})
            _drain(connection.getresponse(), end - start, buffer)
    finally:
        if connection:
            connection.close()


def _drain(response: HTTPResponse, length: int, buffer: memoryview) -> None:
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        raise ConnectionError(f"the server answered {response.status} to a range")
    got = 0
    while count := response.readinto(buffer):
        got += count
    if got != length:
        raise ConnectionError(f"{got} bytes came instead of {length}")


def _connection(netloc: str, context: ssl.SSLContext | None) -> HTTPConnection:
    return HTTPSConnection(netloc, context=context) if context else HTTPConnection(netloc)


if __name__ == "__main__":
    run(contend)
