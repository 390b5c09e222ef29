"""What the node's verbs are asked and answer: plain values, no gRPC types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from csi_model.core.capability import Capability
from csi_model.core.changes import PROVISIONER_PREFIX

EPHEMERAL_KEY = f"{PROVISIONER_PREFIX}ephemeral"


@dataclass(frozen=True, slots=True)
class StageRequest:
    """NodeStageVolume.

    Attributes:
        volume_id: free text of at most 128 bytes.
        staging_path: the directory that the container orchestrator made; stays empty.
        capability: what the volume shall be able to do.
        context: the volume_context.
        secrets: the CSI secrets of the call; kept in memory until the warm-up ends, never written down.

    """

    volume_id: str
    staging_path: Path
    capability: Capability
    context: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """NodePublishVolume.

    Attributes:
        volume_id: free text of at most 128 bytes.
        staging_path: where it was staged; None if the call had none.
        target_path: where the pod will see the files; its parent exists.
        capability: what the volume shall be able to do.
        read_only: what was asked; the mount is read-only whatever it says.
        context: the volume_context, plus what kubelet adds under ``csi.storage.k8s.io/``.
        secrets: the CSI secrets of the call, which only inline volumes have; never written down.

    """

    volume_id: str
    staging_path: Path | None
    target_path: Path
    capability: Capability
    read_only: bool
    context: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_inline(self) -> bool:
        """Whether the volume stands in the pod itself (kubelet says so with ``podInfoOnMount``)."""
        return self.context.get(EPHEMERAL_KEY) == "true"


@dataclass(frozen=True, slots=True)
class Usage:
    """NodeGetVolumeStats, in bytes and in inodes (files)."""

    total_bytes: int
    used_bytes: int
    total_files: int
    used_files: int
