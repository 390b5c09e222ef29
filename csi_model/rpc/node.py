"""The node service over the node's verbs."""

# ruff: noqa: N802, ARG002 - the protocol's own names, and gRPC's own signature

from typing import Any

from csi_model.core.capability import check
from csi_model.errors import InvalidArgument, NotStaged
from csi_model.rpc import messages
from csi_model.rpc.deadlines import stage_time
from csi_model.rpc.generated import csi_pb2, csi_pb2_grpc
from csi_model.rpc.slots import Slots
from csi_model.rpc.verbs import NodeVerbs

_RPC = csi_pb2.NodeServiceCapability.RPC
_CAPABILITIES = (_RPC.STAGE_UNSTAGE_VOLUME, _RPC.GET_VOLUME_STATS, _RPC.SINGLE_NODE_MULTI_WRITER)
TOPOLOGY_KEY = "csi-model.io/node"
WAITING = 64
"""NodeStageVolume calls, and NodePublishVolume calls of inline volumes, that wait at once: more than the pods that a
node starts together."""
BRIEF = 128
"""Publish, unpublish and unstage calls at once: each is a few system calls, but a disk can make them slow."""
_MAX_NODE_ID_BYTES = 256  # CSI spec, NodeGetInfoResponse.node_id


class NodeAbilities(csi_pb2_grpc.NodeServicer):
    """What every process tells of nodes, also one that is only a controller: what they can.

    csi-resizer asks the controller's endpoint whether nodes can expand volumes, and ends if there is no answer.
    """

    def NodeGetCapabilities(
        self, request: csi_pb2.NodeGetCapabilitiesRequest, context: Any
    ) -> csi_pb2.NodeGetCapabilitiesResponse:
        capabilities = [csi_pb2.NodeServiceCapability(rpc=_RPC(type=kind)) for kind in _CAPABILITIES]
        return csi_pb2.NodeGetCapabilitiesResponse(capabilities=capabilities)


class NodeService(NodeAbilities):
    """Checks what is asked, calls the verbs, and words the answer.

    Args:
        verbs: what it all rests on.
        node_id: the node's name.
        waiting: NodeStageVolume calls, and NodePublishVolume calls of inline volumes, that may wait at once.
        brief: publish, unpublish and unstage calls that may run at once.

    Raises:
        InvalidArgument: the node's name is empty or longer than CSI allows.

    """

    def __init__(self, verbs: NodeVerbs, *, node_id: str, waiting: int = WAITING, brief: int = BRIEF) -> None:
        if not 0 < len(node_id.encode()) <= _MAX_NODE_ID_BYTES:
            raise InvalidArgument("node id", f"{node_id[:80]!r} has to have 1 to {_MAX_NODE_ID_BYTES} bytes")
        self._verbs = verbs
        self._node_id = node_id
        self._slots = Slots("NodeStageVolume", waiting)
        self._brief = Slots("node", brief)

    def NodeStageVolume(self, request: csi_pb2.NodeStageVolumeRequest, context: Any) -> csi_pb2.NodeStageVolumeResponse:
        asked = messages.stage_request(request)
        check(asked.capability)
        with self._slots.take():
            self._verbs.stage(asked, timeout=stage_time(context))
        return csi_pb2.NodeStageVolumeResponse()

    def NodeUnstageVolume(
        self, request: csi_pb2.NodeUnstageVolumeRequest, context: Any
    ) -> csi_pb2.NodeUnstageVolumeResponse:
        volume_id = messages.required("volume_id", request.volume_id)
        path = messages.path_of("staging_target_path", request.staging_target_path)
        with self._brief.take():
            self._verbs.unstage(volume_id, path)
        return csi_pb2.NodeUnstageVolumeResponse()

    def NodePublishVolume(
        self, request: csi_pb2.NodePublishVolumeRequest, context: Any
    ) -> csi_pb2.NodePublishVolumeResponse:
        asked = messages.publish_request(request)
        check(asked.capability)
        if asked.is_inline:
            with self._slots.take():
                self._verbs.publish_inline(asked, timeout=stage_time(context))
            return csi_pb2.NodePublishVolumeResponse()
        if asked.staging_path is None:
            raise NotStaged(
                f"staging_target_path: is missing, so volume {asked.volume_id!r} isn't staged: stage it first (inline "
                "volumes aren't known as such unless the CSIDriver object has podInfoOnMount: true)"
            )
        with self._brief.take():
            self._verbs.publish(asked)
        return csi_pb2.NodePublishVolumeResponse()

    def NodeUnpublishVolume(
        self, request: csi_pb2.NodeUnpublishVolumeRequest, context: Any
    ) -> csi_pb2.NodeUnpublishVolumeResponse:
        volume_id = messages.required("volume_id", request.volume_id)
        path = messages.path_of("target_path", request.target_path)
        with self._brief.take():
            self._verbs.unpublish(volume_id, path)
        return csi_pb2.NodeUnpublishVolumeResponse()

    def NodeGetVolumeStats(
        self, request: csi_pb2.NodeGetVolumeStatsRequest, context: Any
    ) -> csi_pb2.NodeGetVolumeStatsResponse:
        volume_id = messages.required("volume_id", request.volume_id)
        usage = self._verbs.stats(volume_id, messages.stats_path(request.volume_path))
        return csi_pb2.NodeGetVolumeStatsResponse(usage=messages.usage_messages(usage))

    def NodeGetInfo(self, request: csi_pb2.NodeGetInfoRequest, context: Any) -> csi_pb2.NodeGetInfoResponse:
        # The disk limits how many models fit, not a number of volumes: max_volumes_per_node stays 0.
        topology = csi_pb2.Topology(segments={TOPOLOGY_KEY: self._node_id})
        return csi_pb2.NodeGetInfoResponse(node_id=self._node_id, accessible_topology=topology)
