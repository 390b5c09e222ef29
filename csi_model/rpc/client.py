"""A thin client of a CSI driver, for programs that play an orchestrator (the demo, the tests, the benchmarks)."""

from typing import Any, Self

import grpc

from csi_model.errors import CsiModelError
from csi_model.rpc.generated import csi_pb2, csi_pb2_grpc
from csi_model.rpc.server import channel_target
from csi_model.rpc.sockets import socket_path

_STUBS = (csi_pb2_grpc.IdentityStub, csi_pb2_grpc.ControllerStub, csi_pb2_grpc.NodeStub)
_OPTIONS = (
    # A driver that is just starting is asked again soon, not after gRPC's first second.
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
)


class Refused(CsiModelError):
    """The driver answered with an error.

    Args:
        method: the RPC's name.
        code: the gRPC code's name, e.g. ``NOT_FOUND``.
        text: what the driver said.

    """

    def __init__(self, method: str, code: str, text: str) -> None:
        super().__init__(f"{method}: {code}: {text}")
        self.method = method
        self.code = code
        self.text = text


class CsiClient:
    """Calls a driver's RPCs by name; use it in a ``with`` block. Safe to use from several threads.

    Args:
        endpoint: the driver's Unix socket; it need not exist yet.

    Raises:
        InvalidArgument: the endpoint isn't a path where a socket can be.

    """

    def __init__(self, endpoint: str) -> None:
        self._channel = grpc.insecure_channel(channel_target(socket_path(endpoint)), options=_OPTIONS)
        stubs = [kind(self._channel) for kind in _STUBS]
        self._methods = {name: call for stub in stubs for name, call in vars(stub).items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; a call that waits in another thread ends with CANCELLED."""
        self._channel.close()

    def call(self, method: str, /, *, timeout: float, wait_for_driver: bool = False, **fields: Any) -> Any:
        """Make one call.

        Args:
            method: the RPC's name, e.g. ``NodeStageVolume``.
            timeout: the call's deadline in seconds.
            wait_for_driver: whether to wait (within the deadline) for a driver that doesn't listen yet.
            fields: the request's members.

        Returns:
            The response message.

        Raises:
            Refused: the driver answered with an error, or not in time.

        """
        request = getattr(csi_pb2, f"{method}Request")(**fields)
        try:
            return self._methods[method](request, timeout=timeout, wait_for_ready=wait_for_driver)
        except grpc.RpcError as error:
            raise Refused(method, error.code().name, error.details() or "") from None
        except ValueError as error:  # gRPC's word for a channel that was closed under it
            raise Refused(method, "CANCELLED", str(error)) from None

    def probe(self, *, timeout: float = 10.0) -> None:
        """Wait until the driver answers a Probe.

        Raises:
            Refused: it says that it is unwell, or nobody answers within ``timeout`` seconds.

        """
        self.call("Probe", timeout=timeout, wait_for_driver=True)


def read_only_mount() -> Any:
    """Return the capability that a claim with ReadOnlyMany asks for."""
    capability = csi_pb2.VolumeCapability
    mode = capability.AccessMode(mode=capability.AccessMode.MULTI_NODE_READER_ONLY)
    return capability(mount=capability.MountVolume(), access_mode=mode)
