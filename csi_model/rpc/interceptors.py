"""What happens to every call: one log line, secrets kept out, errors turned into codes, and nothing else gets out.

This is the wall: an exception that leaves a handler would be UNKNOWN, which kubelet takes as final.
"""

import logging
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from csi_model.errors import CsiModelError, TryAgain
from csi_model.rpc import codes
from csi_model.rpc.redaction import redacted, scrub

log = logging.getLogger(__name__.rpartition(".")[0])
MAX_TEXT = 2000
"""Characters of an answer's text: it travels in an HTTP/2 header, of which clients accept some kilobytes."""
BUG = "Bug"
"""Stands for the type of an error that nobody raises on purpose."""
Observe = Callable[[str, str, float, str], None]
"""Counts a call: the RPC's name, the code's name, seconds, and the type of the error ("" for none; one of those in
:data:`csi_model.rpc.codes.TABLE`, or BUG). Never blocks, never raises."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended."""

    code: grpc.StatusCode
    level: int
    text: str = ""
    traceback: str = ""
    error: str = ""


class CallInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc comes without types
    """Wraps the handler of every call.

    Args:
        observe: counts every call; None for nobody.

    """

    def __init__(self, observe: Observe | None = None) -> None:
        self._observe = observe

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        method = str(details.method).rpartition("/")[2]
        if handler is None:  # no such service: gRPC answers UNIMPLEMENTED by itself
            return None
        if handler.response_streaming:
            kind, behaviour = grpc.unary_stream_rpc_method_handler, self._streaming(method, handler.unary_stream)
        else:
            kind, behaviour = grpc.unary_unary_rpc_method_handler, self._single(method, handler.unary_unary)
        return kind(behaviour, handler.request_deserializer, handler.response_serializer)

    def _single(self, method: str, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def call(request: Any, context: Any) -> Any:
            started = _begin(method, request)
            try:
                response = behaviour(request, context)
            except Exception as error:  # noqa: BLE001 - the wall
                outcome = _outcome(method, request, error, context)
            else:
                outcome = _succeeded(method)
            self._end(method, request, started, outcome, context)
            return response if outcome.code is grpc.StatusCode.OK else context.abort(outcome.code, outcome.text)

        return call

    def _streaming(self, method: str, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Iterator[Any]]:
        def call(request: Any, context: Any) -> Iterator[Any]:
            started = _begin(method, request)
            try:
                yield from behaviour(request, context)
            except Exception as error:  # noqa: BLE001 - the wall
                outcome = _outcome(method, request, error, context)
            else:
                outcome = _succeeded(method)
            self._end(method, request, started, outcome, context)
            if outcome.code is not grpc.StatusCode.OK:
                context.abort(outcome.code, outcome.text)

        return call

    def _end(self, method: str, request: Any, started: float, outcome: Outcome, context: Any) -> None:
        subject = str(getattr(request, "volume_id", "") or getattr(request, "name", ""))
        seconds = time.monotonic() - started
        if self._observe is not None:
            self._observe(method, outcome.code.name, seconds, outcome.error)
        took = seconds * 1000
        left = not context.is_active()  # its deadline passed, or it cancelled: it never saw the answer
        words = [method, subject, outcome.code.name, f"{took:.1f} ms", "(the caller had left)" if left else ""]
        line = " ".join(word for word in words if word)
        fields: dict[str, Any] = {"method": method, "volume": subject, "code": outcome.code.name, "ms": round(took, 1)}
        if outcome.text:
            line = f"{line}: {outcome.text}"
            fields["text"] = outcome.text
        log.log(outcome.level, "%s", line, extra={"fields": fields, "traceback": outcome.traceback})


def _succeeded(method: str) -> Outcome:
    # A probe every two seconds would bury everything else.
    return Outcome(grpc.StatusCode.OK, logging.DEBUG if method == "Probe" else logging.INFO)


def _outcome(method: str, request: Any, error: Exception, context: Any) -> Outcome:
    if isinstance(error, NotImplementedError) and context.code() is grpc.StatusCode.UNIMPLEMENTED:
        return Outcome(grpc.StatusCode.UNIMPLEMENTED, logging.INFO, f"csi-model does not offer {method}")
    row = codes.row_of(error) if isinstance(error, CsiModelError) else None
    if row is None:
        return _bug(method, request, error)
    text = scrub(str(error) or row.situation, request)
    level = logging.INFO if isinstance(error, TryAgain) else logging.WARNING
    text = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    return Outcome(codes.code_of(row, method), level, text, error=row.error.__name__)


def _bug(method: str, request: Any, error: Exception) -> Outcome:
    # The exception's own text stays in the log: nobody has checked what it holds.
    call = uuid.uuid4().hex[:8]
    text = (
        f"{method} failed by a bug in csi-model ({type(error).__name__}): "
        f"look for {call} in the driver's log, where the traceback is, and report it"
    )
    trace = scrub("".join(traceback.format_exception(error)), request)
    return Outcome(grpc.StatusCode.INTERNAL, logging.ERROR, text, trace, BUG)


def _begin(method: str, request: Any) -> float:
    if log.isEnabledFor(logging.DEBUG):
        shown = redacted(request) if isinstance(request, Message) else request
        log.debug("%s begins: %s", method, " ".join(str(shown).split()))
    return time.monotonic()
