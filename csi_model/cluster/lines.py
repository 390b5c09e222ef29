"""Lines: the answer to a watch, one JSON object a line, that another thread can end."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from csi_model.cluster.errors import ApiUnavailable

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

_BLOCK = 64 * 1024
_MAX_LINE = 8 * 1024 * 1024  # bytes: etcd keeps no object above 1.5 MiB, and JSON is longer than what it keeps


class Lines:
    """Iterates over the objects; ends quietly when the server ends the answer or :meth:`close` was called.

    Args:
        response: whose body hasn't been read.

    """

    def __init__(self, response: "BaseHTTPResponse") -> None:
        self._response = response
        self._closed = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the objects.

        Raises:
            ApiUnavailable: the connection broke, was silent for too long, or what came is no JSON.

        """
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with the client

        try:
            for line in self._lines():
                yield _object(line)
        except (HTTPError, OSError, ValueError) as error:
            if not self._closed:
                raise ApiUnavailable(f"a watch of the Kubernetes API broke off: {str(error)[:300]}") from error
        finally:
            self._response.close()

    def close(self) -> None:
        """End it from any thread: who waits for the next object is woken."""
        self._closed = True
        with suppress(OSError, ValueError, RuntimeError):  # it has ended by itself
            self._response.shutdown()

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        while not self._closed and (block := self._response.read1(_BLOCK)):
            *lines, rest = (rest + block).split(b"\n")
            yield from filter(None, lines)
            if len(rest) > _MAX_LINE:
                raise ApiUnavailable(f"a watch of the Kubernetes API sent a line of more than {_MAX_LINE} bytes")


def _object(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - of the same kind as what json raises
    return document
