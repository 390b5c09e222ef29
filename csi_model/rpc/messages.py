"""Between protobuf messages and our own values; what is missing or malformed is found here.

An unset submessage is truthy in protobuf: presence is asked with HasField, always.
"""

from pathlib import Path

from csi_model.core.capability import AccessMode, Capability
from csi_model.core.placement import STAGED, Placement, label_of
from csi_model.core.volume import VolumeRecord
from csi_model.errors import InvalidArgument, VolumeNotFound
from csi_model.node.requests import PublishRequest, StageRequest, Usage
from csi_model.rpc.generated import csi_pb2

MAX_ID_BYTES = 128  # CSI spec, "Size Limits"


def required(field: str, value: str) -> str:
    """Return a field that must not be empty.

    Raises:
        InvalidArgument: it is.

    """
    if not value:
        raise InvalidArgument(field, "is missing")
    return value


def path_of(field: str, value: str) -> Path:
    """Return a path that must be given and absolute.

    Raises:
        InvalidArgument: it is empty, relative, or no path at all.

    """
    path = Path(required(field, value))
    if not path.is_absolute() or "\0" in value:
        raise InvalidArgument(field, f"{value[:200]!r} is not an absolute path")
    return path


def capability_of(message: csi_pb2.VolumeCapability, field: str = "volume_capability") -> Capability:
    """Read one capability; whether a model volume can have it is another question.

    Raises:
        InvalidArgument: the access type or the access mode is missing or unknown.

    """
    kind = message.WhichOneof("access_type")
    if kind is None:
        raise InvalidArgument(f"{field}.access_type", "is missing: say mount")
    if not message.HasField("access_mode") or not message.access_mode.mode:
        raise InvalidArgument(f"{field}.access_mode", "is missing: a model volume wants MULTI_NODE_READER_ONLY")
    try:
        mode = AccessMode(message.access_mode.mode)
    except ValueError:
        raise InvalidArgument(f"{field}.access_mode", f"{message.access_mode.mode} is not a mode of CSI 1.12") from None
    if message.mount.volume_mount_group:
        raise InvalidArgument(
            f"{field}.mount.volume_mount_group", "is not supported: the files can be read by everybody"
        )
    return Capability(
        mode=mode,
        block=kind == "block",
        fs_type=message.mount.fs_type,
        mount_flags=tuple(message.mount.mount_flags),
    )


def capabilities_of(
    request: csi_pb2.CreateVolumeRequest | csi_pb2.ValidateVolumeCapabilitiesRequest,
) -> list[Capability]:
    """Read the capabilities that a whole volume shall have.

    Raises:
        InvalidArgument: there are none, or as :func:`capability_of`.

    """
    if not request.volume_capabilities:
        raise InvalidArgument("volume_capabilities", "are missing")
    return [capability_of(item, f"volume_capabilities[{n}]") for n, item in enumerate(request.volume_capabilities)]


def capacity_of(request: csi_pb2.CreateVolumeRequest) -> tuple[int, int]:
    """Return required and limit bytes; 0 says nothing.

    Raises:
        InvalidArgument: one is negative, or the limit is below what is required.

    """
    low, high = request.capacity_range.required_bytes, request.capacity_range.limit_bytes
    if low < 0 or high < 0:
        raise InvalidArgument("capacity_range", f"has a negative size: required {low}, limit {high} bytes")
    if high and high < low:
        raise InvalidArgument("capacity_range", f"requires {low} bytes and is limited to {high}")
    return low, high


def stage_request(request: csi_pb2.NodeStageVolumeRequest) -> StageRequest:
    """Read NodeStageVolume; its publish_context is ignored, since nothing is attached.

    Raises:
        InvalidArgument: a field is missing or malformed.

    """
    volume_id = _volume_id(request.volume_id)
    staging_path = path_of("staging_target_path", request.staging_target_path)
    return StageRequest(
        volume_id=volume_id,
        staging_path=staging_path,
        capability=_one_capability(request),
        context=dict(request.volume_context),
        secrets=dict(request.secrets),
    )


def publish_request(request: csi_pb2.NodePublishVolumeRequest) -> PublishRequest:
    """Read NodePublishVolume; its publish_context is ignored, since nothing is attached.

    Raises:
        InvalidArgument: a field is missing or malformed.

    """
    volume_id = _volume_id(request.volume_id)
    target_path = path_of("target_path", request.target_path)
    capability = _one_capability(request)
    staging = request.staging_target_path
    return PublishRequest(
        volume_id=volume_id,
        staging_path=path_of("staging_target_path", staging) if staging else None,
        target_path=target_path,
        capability=capability,
        read_only=request.readonly,
        context=dict(request.volume_context),
        secrets=dict(request.secrets),
    )


def stats_path(value: str) -> Path:
    """Return NodeGetVolumeStats' path.

    Raises:
        InvalidArgument: it is missing.
        VolumeNotFound: it is no absolute path, so no volume can be there.

    """
    try:
        return path_of("volume_path", required("volume_path", value))
    except InvalidArgument:
        if not value:
            raise
        raise VolumeNotFound(f"no volume is at {value[:200]!r}") from None


def volume_message(record: VolumeRecord) -> csi_pb2.Volume:
    """Tell a volume.

    One with ``placement: require`` is accessible where its revision is staged: the label that the orchestrator will
    look for. Others are accessible everywhere, since their copy can be made on every node.
    """
    topology = []
    if record.spec.placement == Placement.REQUIRE:
        topology.append(csi_pb2.Topology(segments={label_of(record.manifest.digest): STAGED}))
    return csi_pb2.Volume(
        volume_id=record.volume_id,
        capacity_bytes=record.capacity,
        volume_context=record.context(),
        accessible_topology=topology,
    )


def usage_messages(usage: Usage) -> list[csi_pb2.VolumeUsage]:
    """Tell a volume's use in bytes and in inodes."""
    figures = (
        (csi_pb2.VolumeUsage.BYTES, usage.total_bytes, usage.used_bytes),
        (csi_pb2.VolumeUsage.INODES, usage.total_files, usage.used_files),
    )
    return [
        csi_pb2.VolumeUsage(unit=unit, total=total, used=used, available=max(0, total - used))
        for unit, total, used in figures
    ]


def _volume_id(value: str) -> str:
    if len(required("volume_id", value).encode()) > MAX_ID_BYTES:
        raise InvalidArgument("volume_id", f"has more than {MAX_ID_BYTES} bytes")
    return value


def _one_capability(request: csi_pb2.NodeStageVolumeRequest | csi_pb2.NodePublishVolumeRequest) -> Capability:
    if not request.HasField("volume_capability"):
        raise InvalidArgument("volume_capability", "is missing")
    return capability_of(request.volume_capability)
