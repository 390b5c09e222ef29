"""The process that reads over TLS for the driver: the very same range reads, behind another interpreter's lock.

Started by :mod:`csi_model.sources.workers` with one socket per conduit, named on the command line; it lives as long as
its standard input. On a conduit one read goes on at a time: the request (its number and JSON, with the descriptor of a
:class:`csi_model.sources.shared.SharedBuffer`), then ``FILLED`` for each view and ``GO`` or ``STOP`` in answer, and
in the end the outcome (JSON). Memory is touched only between the request or a ``GO`` and the next message from here.

It imports little on purpose, so that many of it fit.
"""

import base64
import json
import mmap
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from csi_model.errors import SourceError
from csi_model.sources.base import Abort
from csi_model.sources.http import Target, read_range
from csi_model.sources.http_connection import HttpLimits
from csi_model.sources.http_pool import HttpPool
from csi_model.sources.http_refusals import Refusal

MESSAGE = 128 * 1024
"""Bytes of a message at most: less than a socket takes at once."""
FILLED = GO = b"+"
STOP = b"-"
_MAX_HEADER = 1000


class _Refused(Exception):
    """Carries a refusal past the table of errors: which error it is, the parent's side of the target knows."""


def _hand_over(refusal: Refusal) -> SourceError | None:
    raise _Refused(refusal)


class Pools:
    """The pools of this process, one for each of the parent's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, HttpPool] = {}
        self._closed: set[int] = set()

    def get(self, number: int, ca_bundle: str | None, limits: Mapping[str, Any]) -> HttpPool:
        """Give the like of the parent's pool of that number."""
        with self._lock:
            pool = self._open.get(number)
            if pool is None:
                pool = HttpPool(Path(ca_bundle) if ca_bundle else None, HttpLimits(**limits))
                if number in self._closed:
                    pool.close()
                else:
                    self._open[number] = pool
            return pool

    def close(self, number: int) -> None:
        """Close it, or see to it that it will be closed."""
        with self._lock:
            self._closed.add(number)
            pool = self._open.pop(number, None)
        if pool is not None:
            pool.close()


class Conduit:
    """One read at a time, for as long as the parent has the other end."""

    def __init__(self, end: socket.socket, pools: Pools) -> None:
        self._end = end
        self._pools = pools
        self._current = (-1, Abort())

    def cut(self, number: int) -> None:
        """End the read of that number soon, if it is the current one; from another thread."""
        current, abort = self._current
        if current == number:
            abort()

    def serve(self) -> None:
        """Answer requests until the parent closes its end."""
        with suppress(BrokenPipeError, ConnectionResetError):  # the parent is gone, or doesn't want this any more
            while True:
                message, fds, _, _ = socket.recv_fds(self._end, MESSAGE, 1)
                if not message:
                    return
                number, _, request = message.partition(b" ")
                self._end.send(self._read(int(number), json.loads(request), fds[0]))

    def _read(self, number: int, request: Mapping[str, Any], fd: int) -> bytes:
        """Do one read, and give the outcome."""
        abort = Abort()
        self._current = (number, abort)
        try:
            pool = self._pools.get(*request["pool"])
            url, size, headers, expect = request["target"]
            target = Target(url, size, headers, expect, _hand_over)
            with _mapped(fd, request["layout"]) as views:
                blocks = read_range(pool, target, request["start"], views, abort)
                with closing(blocks):
                    for _ in blocks:
                        self._end.send(FILLED)
                        if self._end.recv(1) != GO:
                            break
        except _Refused as refused:
            return _told(refused.args[0])
        except SourceError as error:
            return _packed({"error": type(error).__name__, "text": str(error)})
        return _packed({})


@contextmanager
def _mapped(fd: int, layout: list[tuple[int, int, int]]) -> Iterator[list[memoryview]]:
    """Map a buffer, and cut (offset, length) out of it, each so many times."""
    try:
        end = max(offset + length for offset, length, _ in layout)
        # Populated at once: a chunk has 4096 pages, and each would be a fault of its own.
        memory = mmap.mmap(fd, end, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    finally:
        os.close(fd)
    whole = memoryview(memory)
    views = [view for offset, length, count in layout for view in [whole[offset : offset + length]] * count]
    try:
        yield views
    finally:
        views.clear()
        with suppress(BufferError):  # an error's traceback may hold views: they go with it
            whole.release()
            memory.close()


def _told(refusal: Refusal) -> bytes:
    headers = {name[:_MAX_HEADER]: value[:_MAX_HEADER] for name, value in refusal.headers.items()}
    body = base64.b64encode(refusal.body).decode()
    told = _packed({"refusal": [refusal.what, refusal.status, headers, body]})
    return told if len(told) <= MESSAGE else _packed({"refusal": [refusal.what, refusal.status, {}, body]})


def _packed(outcome: Mapping[str, object]) -> bytes:
    return json.dumps(outcome).encode()


def _last_word(death: threading.ExceptHookArgs) -> None:
    """Let the whole process die of what a thread didn't expect: the parent sees that, and nothing else of it."""
    traceback.print_exception(death.exc_type, death.exc_value, death.exc_traceback)
    sys.stderr.flush()
    os._exit(1)


def main() -> None:
    """Serve the conduits until the parent closes our standard input, or dies, which does the same."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # meant for the parent, who ends us
    threading.excepthook = _last_word
    pools = Pools()
    conduits = [Conduit(socket.socket(fileno=int(fd)), pools) for fd in sys.argv[1:]]
    for conduit in conduits:
        threading.Thread(target=conduit.serve, daemon=True).start()
    for line in sys.stdin.buffer:
        order, *numbers = line.split()
        if order == b"cut":
            conduits[int(numbers[0])].cut(int(numbers[1]))
        else:
            pools.close(int(numbers[0]))
    os._exit(0)
