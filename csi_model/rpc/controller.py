"""The controller service over the controller's verbs."""

# ruff: noqa: N802, ARG002 - the protocol's own names, and gRPC's own signature

from collections.abc import Callable
from typing import Any

import grpc

from csi_model.core.naming import check_name
from csi_model.core.placement import NODE_KEY
from csi_model.errors import InvalidArgument
from csi_model.rpc import messages
from csi_model.rpc.deadlines import create_time
from csi_model.rpc.generated import csi_pb2, csi_pb2_grpc
from csi_model.rpc.slots import Slots
from csi_model.rpc.verbs import VolumeVerbs

_RPC = csi_pb2.ControllerServiceCapability.RPC
_CAPABILITIES = (
    _RPC.CREATE_DELETE_VOLUME,
    _RPC.LIST_VOLUMES,
    _RPC.GET_VOLUME,
    _RPC.SINGLE_NODE_MULTI_WRITER,
    _RPC.MODIFY_VOLUME,
)
WAITING = 32
"""CreateVolume calls that wait at once; an answered one is repeated soon, so few places serve many claims."""


class ControllerService(csi_pb2_grpc.ControllerServicer):
    """Checks what is asked, calls the verbs, and words the answer.

    Args:
        verbs: what it all rests on.
        capacity: the bytes that a node has for a new copy, by its name ("" if the call names none), for GetCapacity;
            None where nobody knows, and then GetCapacity isn't offered.
        waiting: CreateVolume calls that may wait at once.

    """

    def __init__(
        self, verbs: VolumeVerbs, *, capacity: Callable[[str], int] | None = None, waiting: int = WAITING
    ) -> None:
        self._verbs = verbs
        self._capacity = capacity
        self._slots = Slots("CreateVolume", waiting)

    def CreateVolume(self, request: csi_pb2.CreateVolumeRequest, context: Any) -> csi_pb2.CreateVolumeResponse:
        check_name(request.name)
        capabilities = messages.capabilities_of(request)
        required_bytes, limit_bytes = messages.capacity_of(request)
        if request.HasField("volume_content_source"):
            raise InvalidArgument("volume_content_source", "is not supported: a model volume is filled from its source")
        with self._slots.take():
            record = self._verbs.create(
                name=request.name,
                parameters=dict(request.parameters),
                mutable=dict(request.mutable_parameters),
                capabilities=capabilities,
                required_bytes=required_bytes,
                limit_bytes=limit_bytes,
                secrets=dict(request.secrets),
                timeout=create_time(context),
            )
        return csi_pb2.CreateVolumeResponse(volume=messages.volume_message(record))

    def DeleteVolume(self, request: csi_pb2.DeleteVolumeRequest, context: Any) -> csi_pb2.DeleteVolumeResponse:
        self._verbs.delete(messages.required("volume_id", request.volume_id))
        return csi_pb2.DeleteVolumeResponse()

    def ControllerModifyVolume(
        self, request: csi_pb2.ControllerModifyVolumeRequest, context: Any
    ) -> csi_pb2.ControllerModifyVolumeResponse:
        self._verbs.modify(messages.required("volume_id", request.volume_id), dict(request.mutable_parameters))
        return csi_pb2.ControllerModifyVolumeResponse()

    def ControllerGetVolume(
        self, request: csi_pb2.ControllerGetVolumeRequest, context: Any
    ) -> csi_pb2.ControllerGetVolumeResponse:
        record = self._verbs.get(messages.required("volume_id", request.volume_id))
        status = csi_pb2.ControllerGetVolumeResponse.VolumeStatus()
        return csi_pb2.ControllerGetVolumeResponse(volume=messages.volume_message(record), status=status)

    def ListVolumes(self, request: csi_pb2.ListVolumesRequest, context: Any) -> csi_pb2.ListVolumesResponse:
        if request.max_entries < 0:
            raise InvalidArgument("max_entries", f"is {request.max_entries}: it counts entries, 0 for no limit")
        records, token = self._verbs.page(token=request.starting_token, limit=request.max_entries)
        entry = csi_pb2.ListVolumesResponse.Entry
        entries = [entry(volume=messages.volume_message(record)) for record in records]
        return csi_pb2.ListVolumesResponse(entries=entries, next_token=token)

    def ValidateVolumeCapabilities(
        self, request: csi_pb2.ValidateVolumeCapabilitiesRequest, context: Any
    ) -> csi_pb2.ValidateVolumeCapabilitiesResponse:
        volume_id = messages.required("volume_id", request.volume_id)
        capabilities = messages.capabilities_of(request)
        reason = self._verbs.validate(
            volume_id,
            capabilities=capabilities,
            context=dict(request.volume_context),
            parameters=dict(request.parameters),
            mutable=dict(request.mutable_parameters),
        )
        if reason:
            return csi_pb2.ValidateVolumeCapabilitiesResponse(message=reason)
        confirmed = csi_pb2.ValidateVolumeCapabilitiesResponse.Confirmed(
            volume_context=request.volume_context,
            volume_capabilities=request.volume_capabilities,
            parameters=request.parameters,
            mutable_parameters=request.mutable_parameters,
        )
        return csi_pb2.ValidateVolumeCapabilitiesResponse(confirmed=confirmed)

    def GetCapacity(self, request: csi_pb2.GetCapacityRequest, context: Any) -> csi_pb2.GetCapacityResponse:
        if self._capacity is None:
            context.set_code(grpc.StatusCode.UNIMPLEMENTED)  # as the generated base class does for the others
            raise NotImplementedError
        node = request.accessible_topology.segments.get(NODE_KEY, "")
        return csi_pb2.GetCapacityResponse(available_capacity=max(0, self._capacity(node)))

    def ControllerGetCapabilities(
        self, request: csi_pb2.ControllerGetCapabilitiesRequest, context: Any
    ) -> csi_pb2.ControllerGetCapabilitiesResponse:
        kinds = [*_CAPABILITIES, *([_RPC.GET_CAPACITY] if self._capacity is not None else [])]
        capabilities = [csi_pb2.ControllerServiceCapability(rpc=_RPC(type=kind)) for kind in kinds]
        return csi_pb2.ControllerGetCapabilitiesResponse(capabilities=capabilities)
