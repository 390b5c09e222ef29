"""The gRPC server on a Unix socket."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc

from csi_model.errors import StoreUnusable
from csi_model.rpc.controller import ControllerService
from csi_model.rpc.generated import csi_pb2_grpc
from csi_model.rpc.identity import IdentityService
from csi_model.rpc.interceptors import CallInterceptor, Observe
from csi_model.rpc.node import NodeAbilities, NodeService
from csi_model.rpc.sockets import owner_only, remove_stale, socket_path

WORKERS = 256
"""Threads for calls: more than all that may wait for something (64 NodeStageVolume, 32 CreateVolume, 128 brief calls of
the node on a slow disk), so that 32 are always left for Probe and its like. They are started when needed."""
_OPTIONS = (("grpc.so_reuseport", 0),)
# Nothing that closes connections by age or idleness: external-provisioner exits when it loses its connection. And no
# maximum_concurrent_rpcs: it answers RESOURCE_EXHAUSTED, which makes external-provisioner choose another node.


class Server:
    """A server on a Unix socket that only the owner may connect to.

    Args:
        endpoint: as :func:`csi_model.rpc.sockets.socket_path` reads it.
        register: adds services to the ``grpc.Server``.
        workers: threads for calls.
        observe: counts every call; None for nobody.

    Raises:
        InvalidArgument: the endpoint isn't a path where a socket can be made.
        StoreLocked: another process listens there.
        StoreUnusable: the socket can't be made.

    """

    def __init__(
        self,
        endpoint: str,
        register: Callable[[Any], None],
        *,
        workers: int = WORKERS,
        observe: Observe | None = None,
    ) -> None:
        self.path = socket_path(endpoint)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="rpc")
        self._server = grpc.server(self._pool, interceptors=(CallInterceptor(observe),), options=_OPTIONS)
        register(self._server)
        try:
            remove_stale(self.path)
            _bind(self._server, self.path)
        except BaseException:
            self.stop(0)
            raise

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop(self, grace: float) -> None:
        """Take no new calls, give those that run some time, and end.

        A call that waits in a verb goes on waiting there: whoever owns the verbs wakes them first (a warmer that is
        closed answers InProgress), or the process ends only after the last of them.

        Args:
            grace: seconds after which the callers of running calls are told CANCELLED.

        """
        self._server.stop(grace).wait()
        self._pool.shutdown(wait=False, cancel_futures=True)


def build_server(
    endpoint: str,
    *,
    identity: IdentityService,
    controller: ControllerService | None = None,
    node: NodeService | None = None,
    observe: Observe | None = None,
) -> Server:
    """Build the CSI server; which services are given is the mode (controller, node, or all).

    Args:
        endpoint: as :class:`Server` takes it.
        identity: who the driver is.
        controller: the controller service, if it is served.
        node: the node service, if it is served; a process without it still tells what nodes can.
        observe: counts every call; None for nobody.

    Raises:
        InvalidArgument, StoreLocked, StoreUnusable: as :class:`Server`.

    """

    def register(server: Any) -> None:
        csi_pb2_grpc.add_IdentityServicer_to_server(identity, server)
        if controller is not None:
            csi_pb2_grpc.add_ControllerServicer_to_server(controller, server)
        csi_pb2_grpc.add_NodeServicer_to_server(node or NodeAbilities(), server)

    return Server(endpoint, register, observe=observe)


def generic_server(endpoint: str, handlers: Sequence[Any], *, workers: int) -> Server:
    """Build a server of generic handlers, for services that have no .proto.

    Raises:
        InvalidArgument, StoreLocked, StoreUnusable: as :class:`Server`.

    """
    return Server(endpoint, lambda server: server.add_generic_rpc_handlers(tuple(handlers)), workers=workers)


def channel_target(path: Path) -> str:
    """Return gRPC's name of a Unix socket (which is a URI: odd characters are escaped)."""
    return f"unix:{quote(str(path))}"


def _bind(server: Any, path: Path) -> None:
    with owner_only():
        try:
            server.add_insecure_port(channel_target(path))
            path.chmod(0o600)
        except (RuntimeError, OSError) as error:
            raise StoreUnusable(f"can't listen on {path}: {error}") from error
