"""The play: what happens to a model volume in a cluster, act by act, timed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from csi_model.core.units import bytes_text, duration_text
from csi_model.demo.children import read_in_pod
from csi_model.demo.kubelet import Kubelet, Volume
from csi_model.demo.watching import Watch


@dataclass(frozen=True, slots=True)
class Act:
    """How one start went.

    Attributes:
        name: what started.
        seconds: from the first call until the files could be opened.
        fetched: bytes that came from the source.
        shared: bytes that were on the disk already.

    """

    name: str
    seconds: float
    fetched: int
    shared: int


class Play:
    """Starts pods on volumes of one model, and remembers what to take away.

    Args:
        kubelet: makes and mounts.
        watch: shows progress, counts bytes.
        console: where to tell the story.
        parameters: the StorageClass's.
        secrets: the CSI secrets, if the source wants some.
        pod_log: file for what pods complain about.

    """

    def __init__(
        self, kubelet: Kubelet, watch: Watch, console: Console, *,
        parameters: Mapping[str, str], secrets: Mapping[str, str], pod_log: Path,
    ) -> None:  # fmt: skip
        self._kubelet = kubelet
        self._watch = watch
        self._console = console
        self._parameters = parameters
        self._secrets = secrets
        self._pod_log = pod_log
        self._pods: list[tuple[Volume, str]] = []
        self.acts: list[Act] = []

    def new_volume(self, name: str, claim: str, pod: str) -> tuple[Volume, Path]:
        """Start a new claim's first pod: CreateVolume, NodeStageVolume, NodePublishVolume."""

        def start() -> tuple[Volume, Path]:
            volume = self._kubelet.create(claim, self._parameters, secrets=self._secrets)
            self._console.print(f"    CreateVolume: {volume.volume_id[:14]}…, {bytes_text(volume.capacity)}, pinned")
            self._watch.during(lambda: self._kubelet.stage(volume))
            return volume, self._publish(volume, pod)

        return self._timed(name, start)

    def another_pod(self, name: str, volume: Volume, pod: str) -> Path:
        """Start one more pod on a volume that is staged on this node: NodePublishVolume is all it takes."""
        return self._timed(name, lambda: (volume, self._publish(volume, pod)))[1]

    def check(self, target: Path, expected: Path | None) -> None:
        """Let a pod read what is published there."""
        started = time.monotonic()
        found = read_in_pod(target, expected, log=self._pod_log)
        words = f"{found['files']} file{'s' * (found['files'] != 1)}, {bytes_text(found['bytes'])}"
        if found["compared"]:
            words += f", all {found['compared']} tensors as made"
        elif found["tensors"]:
            words += f", {found['tensors']} tensors"
        self._console.print(
            f"    Read by mmap in another process: {words} ({duration_text(time.monotonic() - started)})"
        )

    def take_away(self) -> None:
        """End the pods, then the claims: NodeUnpublishVolume, NodeUnstageVolume, DeleteVolume."""
        for volume, pod in self._pods:
            self._kubelet.unpublish(volume, pod)
        for volume in {volume.volume_id: volume for volume, _ in self._pods}.values():
            self._kubelet.unstage(volume)
            self._kubelet.delete(volume)
        self._pods.clear()

    def _publish(self, volume: Volume, pod: str) -> Path:
        self._pods.append((volume, pod))
        return self._kubelet.publish(volume, pod)

    def _timed(self, name: str, start: Callable[[], tuple[Volume, Path]]) -> tuple[Volume, Path]:
        before = self._watch.fetched_bytes()
        began = time.monotonic()
        volume, target = start()
        seconds = time.monotonic() - began
        fetched = self._watch.fetched_bytes() - before
        self.acts.append(Act(name, seconds, fetched, max(0, volume.capacity - fetched)))
        self._console.print(
            f"    NodePublishVolume: ready {duration_text(seconds)} after the pod was made, "
            f"{bytes_text(fetched)} fetched"
        )
        return volume, target
