"""Plays kubelet and external-provisioner over a driver's socket: their calls, deadlines, directories and back-off."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csi_model.rpc.client import CsiClient, Refused, read_only_mount

UNCERTAIN = frozenset({"ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
"""Codes after which kubelet doesn't know how the volume is, and calls again; after others it forgets the volume (and
calls again as well, as if for the first time)."""
_NODE_DEADLINE = 120.0  # seconds; kubelet's csiTimeout
_CONTROLLER_DEADLINE = 10.0  # seconds; external-provisioner's --timeout
_NODE_PAUSES = (0.5, 122.0)  # seconds: kubelet's first back-off, which doubles, and its largest
_CONTROLLER_PAUSES = (1.0, 300.0)  # external-provisioner's


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume that the driver made.

    Attributes:
        volume_id: the driver's name for it.
        capacity: bytes.
        context: goes with every node call.
        secrets: go with NodeStageVolume.

    """

    volume_id: str
    capacity: int
    context: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


class Kubelet:
    """Makes volumes and mounts them for pods.

    Args:
        client: calls the driver.
        root: kubelet's own directory (staging paths and targets go below it); made if missing.
        repeat_after: gRPC codes after which a call is repeated with back-off; other errors are raised.
        on_refusal: told of each call that will be repeated.
        pause: waits some seconds.

    """

    def __init__(
        self,
        client: CsiClient,
        root: Path,
        *,
        repeat_after: frozenset[str] = UNCERTAIN,
        on_refusal: Callable[[Refused], None] = lambda _: None,
        pause: Callable[[float], None] = time.sleep,  # back-off is time that passes: there is nothing to wait for
    ) -> None:
        self._client = client
        self._root = root
        self._repeat_after = repeat_after
        self._on_refusal = on_refusal
        self._pause = pause
        root.mkdir(parents=True, exist_ok=True)

    def create(
        self, name: str, parameters: Mapping[str, str], *, size: int = 0, secrets: Mapping[str, str] | None = None
    ) -> Volume:
        """CreateVolume, as for a ReadOnlyMany claim that requests ``size`` bytes.

        Raises:
            Refused: with a code that isn't repeated.

        """
        answer = self._call(
            "CreateVolume", _CONTROLLER_DEADLINE, _CONTROLLER_PAUSES, name=name, parameters=dict(parameters),
            volume_capabilities=[read_only_mount()], capacity_range={"required_bytes": size}, secrets=secrets or {},
        )  # fmt: skip
        made = answer.volume
        return Volume(made.volume_id, made.capacity_bytes, dict(made.volume_context), secrets or {})

    def delete(self, volume: Volume) -> None:
        """DeleteVolume."""
        self._call(
            "DeleteVolume", _CONTROLLER_DEADLINE, _CONTROLLER_PAUSES,
            volume_id=volume.volume_id, secrets=volume.secrets,
        )  # fmt: skip

    def stage(self, volume: Volume) -> Path:
        """NodeStageVolume, until it is staged; returns the staging path."""
        path = self.staging_path(volume)
        path.mkdir(parents=True, exist_ok=True)
        self._node(
            "NodeStageVolume", volume, staging_target_path=str(path), volume_capability=read_only_mount(),
            volume_context=volume.context, secrets=volume.secrets,
        )  # fmt: skip
        return path

    def publish(self, volume: Volume, pod: str) -> Path:
        """NodePublishVolume for a pod; returns the target, where the pod finds the files."""
        target = self.target(volume, pod)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._node(
            "NodePublishVolume", volume, staging_target_path=str(self.staging_path(volume)), target_path=str(target),
            volume_capability=read_only_mount(), volume_context=volume.context, readonly=True,
        )  # fmt: skip
        return target

    def unpublish(self, volume: Volume, pod: str) -> None:
        """NodeUnpublishVolume; then removes the directory above the target, which must be empty."""
        target = self.target(volume, pod)
        self._node("NodeUnpublishVolume", volume, target_path=str(target))
        target.parent.rmdir()

    def unstage(self, volume: Volume) -> None:
        """NodeUnstageVolume; then removes the staging path, which must be empty."""
        path = self.staging_path(volume)
        self._node("NodeUnstageVolume", volume, staging_target_path=str(path))
        path.rmdir()

    def staging_path(self, volume: Volume) -> Path:
        """Return where kubelet stages a volume."""
        name = hashlib.sha256(volume.volume_id.encode()).hexdigest()
        return self._root / "plugins/kubernetes.io/csi/csi-model.io" / name / "globalmount"

    def target(self, volume: Volume, pod: str) -> Path:
        """Return where kubelet publishes a volume for a pod."""
        return self._root / "pods" / pod / "volumes/kubernetes.io~csi" / volume.volume_id / "mount"

    def _node(self, method: str, volume: Volume, **fields: Any) -> None:
        self._call(method, _NODE_DEADLINE, _NODE_PAUSES, volume_id=volume.volume_id, **fields)

    def _call(self, method: str, deadline: float, pauses: tuple[float, float], **fields: Any) -> Any:
        pause, longest = pauses
        while True:
            try:
                return self._client.call(method, timeout=deadline, **fields)
            except Refused as refusal:
                if refusal.code not in self._repeat_after:
                    raise
                self._on_refusal(refusal)
            self._pause(pause)
            pause = min(2 * pause, longest)
