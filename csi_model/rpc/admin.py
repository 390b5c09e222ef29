"""The admin service: what ``csi-model status|verify|evict`` ask of the agent that owns a store.

gRPC on ``<root>/admin.sock``, which only root may connect to; the messages are JSON, since both ends are this program.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import grpc

from csi_model import errors
from csi_model.rpc.server import Server, channel_target, generic_server
from csi_model.rpc.sockets import listens
from csi_model.rpc.verbs import Keeper

_SERVICE = "csi_model.Admin"
_ERROR_TYPE = "csi-model-error"
_WORKERS = 8  # a few administrators at once; verify takes a thread for as long as it reads
_LOCAL = 30.0  # seconds: an answer from memory and a few directories


class NoAgent(errors.NodeError):
    """Nobody listens on the admin socket: no agent owns the store, so its LOCK can be taken."""


def build_admin_server(path: Path, keeper: Keeper) -> Server:
    """Build the server.

    Raises:
        InvalidArgument, StoreLocked, StoreUnusable: as :class:`csi_model.rpc.server.Server`.

    """
    service = AdminService(keeper)
    handlers = {
        "status": grpc.unary_unary_rpc_method_handler(service.status, json.loads, _encoded),
        "verify": grpc.unary_stream_rpc_method_handler(service.verify, json.loads, _encoded),
        "evict": grpc.unary_unary_rpc_method_handler(service.evict, json.loads, _encoded),
    }
    handler = grpc.method_handlers_generic_handler(_SERVICE, handlers)
    return generic_server(str(path), [handler], workers=_WORKERS)


class AdminService:
    """The server's side: a request's members are the keeper's arguments."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def status(self, request: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG002 - gRPC's signature
        """Answer :meth:`csi_model.rpc.verbs.Keeper.status`."""
        with _typed(context):
            return self._keeper.status()

    def verify(self, request: dict[str, Any], context: Any) -> Iterator[dict[str, Any]]:
        """Answer :meth:`csi_model.rpc.verbs.Keeper.verify`."""
        with _typed(context):
            yield from self._keeper.verify(request["manifest"])

    def evict(self, request: dict[str, Any], context: Any) -> dict[str, Any]:
        """Answer :meth:`csi_model.rpc.verbs.Keeper.evict`."""
        with _typed(context):
            return self._keeper.evict(request["target"], dry_run=request["dry_run"])


class AdminClient:
    """The client's side: a :class:`csi_model.rpc.verbs.Keeper` that asks the agent; use it in a ``with`` block.

    An error that the agent raised is raised here with the same type and text (its other attributes stay there).

    Args:
        path: the admin socket.

    Raises:
        NoAgent: on entry, when nobody listens there; later, when the agent ends during a call.
        StoreUnusable: on entry, without the right to connect.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._channel: Any = None

    def __enter__(self) -> Self:
        if not listens(self._path):
            raise NoAgent(f"no agent listens on {self._path}")
        self._channel = grpc.insecure_channel(channel_target(self._path))
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def status(self) -> dict[str, Any]:
        """Ask :meth:`csi_model.rpc.verbs.Keeper.status`."""
        with self._rebuilt():
            return dict(self._method("unary_unary", "status")({}, timeout=_LOCAL))

    def verify(self, manifest: str | None) -> Iterator[dict[str, Any]]:
        """Ask :meth:`csi_model.rpc.verbs.Keeper.verify`; takes as long as reading the copies does."""
        with self._rebuilt():
            yield from self._method("unary_stream", "verify")({"manifest": manifest})

    def evict(self, target: str, *, dry_run: bool) -> dict[str, Any]:
        """Ask :meth:`csi_model.rpc.verbs.Keeper.evict`; takes as long as deleting the files does."""
        with self._rebuilt():
            return dict(self._method("unary_unary", "evict")({"target": target, "dry_run": dry_run}))

    def _method(self, kind: str, name: str) -> Callable[..., Any]:
        call: Callable[..., Any] = getattr(self._channel, kind)(f"/{_SERVICE}/{name}", _encoded, json.loads)
        return call

    @contextmanager
    def _rebuilt(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise _error_of(error, self._path) from None


def _encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


@contextmanager
def _typed(context: Any) -> Iterator[None]:
    """Tell the client the type of an error: several types share a code."""
    try:
        yield
    except errors.CsiModelError as error:
        context.set_trailing_metadata(((_ERROR_TYPE, type(error).__name__),))
        raise


def _error_of(error: Any, path: Path) -> errors.CsiModelError:
    name = dict(error.trailing_metadata() or ()).get(_ERROR_TYPE, "")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, errors.CsiModelError):
        # Past __init__, whose arguments are the type's own: the text is whole already.
        return kind.__new__(kind, error.details())
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return NoAgent(f"the agent on {path} ended during the call")
    return errors.CsiModelError(error.details() or error.code().name)
