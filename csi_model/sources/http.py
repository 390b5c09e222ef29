"""Ranges of a URL's bytes, read straight into the caller's memory.

The body goes from the socket into the given views with no Python object per piece. Whatever else happens becomes one
of :mod:`csi_model.errors`' types in :func:`refused` (the server answered) or :func:`_failure` (it didn't).
"""

import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from socket import gaierror

from csi_model.errors import SourceChanged, SourceInvalid, SourceUnavailable
from csi_model.sources.base import Abort, Blocks
from csi_model.sources.http_connection import Connection, HttpLimits
from csi_model.sources.http_head import LAST_CHUNK, Head, unchunked
from csi_model.sources.http_pool import HttpPool
from csi_model.sources.http_refusals import Explain, Refusal, bare, clean, refused
from csi_model.sources.http_server import Server

_MAX_ERROR_BODY = 16 * 1024  # bytes of an error page that are read for its text
_ERROR_RECEIVES = 4
_CONTENT_RANGE = re.compile(r"bytes (\d{1,20})-(\d{1,20})/(\d{1,20}|\*)\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """A whole object that ranges are read of.

    Attributes:
        url: where it lies; its query may be a signature, so it never gets into a text.
        size: bytes of the whole object.
        headers: sent with each request (``If-Match`` …).
        expect: headers that an answer must not contradict: servers exist that ignore ``If-Match``.
        explain: gives a better error for a refusal than its status does, or None.

    """

    url: str = field(repr=False)
    size: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    expect: Mapping[str, str] = field(default_factory=dict)
    explain: Explain | None = None


def read_range(
    pool: HttpPool, target: Target, start: int, views: Sequence[memoryview], abort: Abort | None = None
) -> Blocks:
    """Fill views with the bytes of ``target`` from offset ``start``: the contract of :meth:`Reader.read`.

    If the pool has workers, one of them does it where that pays; what the caller sees is the same.

    Raises:
        SourceChanged: the object isn't what it was (412, gone, shorter, other validators).
        SourceUnauthenticated, SourceDenied: 401, 403.
        SourceBusy: 429, 503.
        SourceUnavailable: no connection, reset, truncated, stalled, too slow, or another server error.
        SourceInvalid: another range, an encoding, a redirect, or any other status.

    """
    abort = abort or Abort()
    elsewhere = pool.workers.try_read(pool, target, start, views, abort) if pool.workers is not None else None
    yield from elsewhere or _read_here(pool, target, start, views, abort)


def _read_here(pool: HttpPool, target: Target, start: int, views: Sequence[memoryview], abort: Abort) -> Blocks:
    length = sum(map(len, views))
    with ExitStack() as armed:
        try:
            connection, head, rest = _request(
                pool, target, start, length, lambda leased: armed.enter_context(abort.armed(leased.abort))
            )
        except (OSError, HTTPException, UnicodeError) as error:  # UnicodeError: a host name that can't be encoded
            raise _failure(error, target) from error
        except ValueError as error:
            raise SourceInvalid(f"{bare(target.url)} can't be asked for: {error}") from error
        reusable = False
        try:
            if not _is_granted(head, target, start, length):
                raise refused(_refusal(connection, head, rest, target), target.size, target.explain)
            _check(head, target, start, length)
            yield from _receive(connection, rest, views, pool.limits)
            reusable = not head.last and len(rest) <= length  # more than was asked for belongs to no answer
        except (OSError, HTTPException) as error:
            raise _failure(error, target) from error
        finally:
            armed.close()
            if reusable:
                pool.give_back(connection)
            else:
                pool.drop(connection)


def _request(
    pool: HttpPool, target: Target, start: int, length: int, arm: Callable[[Connection], object]
) -> tuple[Connection, Head, memoryview]:
    server = Server.of(target.url)
    while True:
        connection = pool.lease(server)
        arm(connection)
        try:
            headers = {
                "Range": f"bytes={start}-{start + length - 1}",
                "Accept-Encoding": "identity",
                "User-Agent": "csi-model",
                **target.headers,
            }
            head, rest = connection.ask(target.url, headers)
        except ConnectionError:
            pool.drop(connection)
            if connection.aborted or not connection.used:
                raise  # a kept connection may have been closed by the server meanwhile; a new one has no such excuse
        except BaseException:
            pool.drop(connection)
            raise
        else:
            return connection, head, rest


def _is_granted(head: Head, target: Target, start: int, length: int) -> bool:
    """Tell whether an answer claims to be what was asked for."""
    whole = head.status == HTTPStatus.OK and start == 0 and length == target.size
    return whole or head.status == HTTPStatus.PARTIAL_CONTENT


def _check(head: Head, target: Target, start: int, length: int) -> None:
    """Let nothing pass but exactly the bytes that were asked for."""
    what = bare(target.url)
    if head.headers.get("content-encoding", "identity") != "identity":
        raise SourceInvalid(f"{what} comes with a Content-Encoding, so its bytes can't be told by range")
    if head.status == HTTPStatus.PARTIAL_CONTENT:
        match = _CONTENT_RANGE.match(head.headers.get("content-range", ""))
        if match is None or (int(match[1]), int(match[2])) != (start, start + length - 1):
            raise SourceInvalid(f"{what} gave another range than bytes {start} to {start + length - 1}")
        if match[3] not in ("*", str(target.size)):
            raise SourceChanged(f"{what} has {match[3]} bytes now, not {target.size}")
    if head.length != length:  # it has none if the body is chunked
        raise SourceInvalid(f"{what} gave {head.length} bytes where {length} were asked for")
    for name, value in target.expect.items():
        if head.headers.get(name.lower(), value) != value:
            raise SourceChanged(f"{what} was overwritten: its {name} is not the pinned one any more")


def _receive(
    connection: Connection, rest: memoryview, views: Sequence[memoryview], limits: HttpLimits
) -> Iterator[memoryview]:
    """Fill views with a body of which ``rest`` has come with its head."""
    window_filled, window_start = 0, time.monotonic()
    for view in views:
        filled = min(len(rest), len(view))
        view[:filled], rest = rest[:filled], rest[filled:]
        while filled < len(view):  # each receive ends in time, so that a trickle can't hold it for ever
            count = connection.fill(view[filled:])
            if not count:
                raise ConnectionResetError("the body ended early")
            filled += count
            window_filled += count
            now = time.monotonic()
            if now - window_start >= limits.slow_window:
                if window_filled < limits.slow_rate * (now - window_start):
                    raise TimeoutError(f"slower than {limits.slow_rate:.0f} bytes a second")
                window_filled, window_start = 0, now
        busy = time.monotonic()
        yield view
        window_start += time.monotonic() - busy  # what the caller does meanwhile isn't the server's slowness


def _refusal(connection: Connection, head: Head, rest: memoryview, target: Target) -> Refusal:
    """Read the beginning of an error page, in few receives: it is worth no long wait."""
    page, enough = bytes(rest), _MAX_ERROR_BODY if head.length is None else min(head.length, _MAX_ERROR_BODY)
    chunked = "transfer-encoding" in head.headers
    with suppress(OSError):  # the status says most
        for _ in range(_ERROR_RECEIVES):
            if len(page) >= enough or (chunked and page.endswith(LAST_CHUNK)):
                break
            more = memoryview(bytearray(enough - len(page)))
            count = connection.some(more)
            if not count:
                break
            page += more[:count]
    page = unchunked(page) if chunked else page
    return Refusal(bare(target.url), head.status, head.headers, page[:_MAX_ERROR_BODY])


def _failure(error: Exception, target: Target) -> SourceUnavailable:
    """Name what went wrong on the way, all of it worth another try."""
    server = Server.of(target.url)
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = clean(error.verify_message)
        words = f"its certificate is not trusted ({reason}): add its authority to the driver's CA bundle"
    elif isinstance(error, gaierror):
        words = "its name can't be resolved"
    elif isinstance(error, TimeoutError):
        words = f"it stalled ({clean(str(error))})"
    else:
        words = clean(str(error)) or type(error).__name__
    return SourceUnavailable(f"reading {bare(target.url)} from {server}: {words}")
