"""The identity service: who the driver is and whether it works."""

# ruff: noqa: N802, ARG002 - the protocol's own names, and gRPC's own signature

from collections.abc import Callable
from typing import Any

from google.protobuf.wrappers_pb2 import BoolValue

from csi_model import DRIVER_NAME, __version__
from csi_model.rpc.generated import csi_pb2, csi_pb2_grpc

_SERVICE = csi_pb2.PluginCapability.Service
_CAPABILITIES = (_SERVICE.CONTROLLER_SERVICE, _SERVICE.VOLUME_ACCESSIBILITY_CONSTRAINTS)
"""The same on controller and node, as the specification wants it."""


class IdentityService(csi_pb2_grpc.IdentityServicer):
    """Answers from memory, so that Probe is never behind work.

    Args:
        healthy: raises a :class:`csi_model.errors.CsiModelError` if the driver can't work and a restart may help;
            answers in constant time.

    """

    def __init__(self, healthy: Callable[[], None] | None = None) -> None:
        self._healthy = healthy

    def GetPluginInfo(self, request: csi_pb2.GetPluginInfoRequest, context: Any) -> csi_pb2.GetPluginInfoResponse:
        return csi_pb2.GetPluginInfoResponse(name=DRIVER_NAME, vendor_version=__version__)

    def GetPluginCapabilities(
        self,
        request: csi_pb2.GetPluginCapabilitiesRequest,
        context: Any,
    ) -> csi_pb2.GetPluginCapabilitiesResponse:
        capabilities = [csi_pb2.PluginCapability(service=_SERVICE(type=kind)) for kind in _CAPABILITIES]
        return csi_pb2.GetPluginCapabilitiesResponse(capabilities=capabilities)

    def Probe(self, request: csi_pb2.ProbeRequest, context: Any) -> csi_pb2.ProbeResponse:
        # Never "not ready yet": livenessprobe takes that for a failure, and restarts the driver.
        if self._healthy is not None:
            self._healthy()
        return csi_pb2.ProbeResponse(ready=BoolValue(value=True))
