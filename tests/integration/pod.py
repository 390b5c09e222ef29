"""Plays kubelet for a pod whose volume stands in the pod itself."""

import hashlib
import time
from pathlib import Path

from csi_model.demo.kubelet import UNCERTAIN
from csi_model.rpc.client import Refused
from csi_model.rpc.generated import csi_pb2

_DEADLINE = 120.0  # seconds; kubelet's csiTimeout
_MODE = csi_pb2.VolumeCapability.AccessMode
CAPABILITY = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(), access_mode=_MODE(mode=_MODE.SINGLE_NODE_WRITER)
)


class Pod:
    """One pod and its volume, named as kubelet names it."""

    def __init__(self, driver, root, name, attributes, secrets=None):
        self._driver = driver
        self.volume_id = "csi-" + hashlib.sha256(name.encode()).hexdigest()
        self.target = Path(root) / "pods" / name / "volumes/kubernetes.io~csi/model/mount"
        self._context = {**attributes, "csi.storage.k8s.io/ephemeral": "true", "csi.storage.k8s.io/pod.name": name}
        self._secrets = secrets or {}

    def publish(self):
        """NodePublishVolume, until it succeeds or is refused for good; returns the files that the pod sees."""
        while True:
            try:
                self.publish_once()
                return {str(p.relative_to(self.target)): p.read_bytes() for p in self.target.rglob("*") if p.is_file()}
            except Refused as refused:
                if refused.code not in UNCERTAIN:
                    raise
            time.sleep(0.1)  # kubelet's back-off: there is nothing to wait for

    def publish_once(self):
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._call(
            "NodePublishVolume", target_path=str(self.target), volume_capability=CAPABILITY,
            volume_context=self._context, secrets=self._secrets,
        )  # fmt: skip

    def unpublish(self):
        self._call("NodeUnpublishVolume", target_path=str(self.target))
        self.target.parent.rmdir()

    def stats(self):
        usage = self._call("NodeGetVolumeStats", volume_path=str(self.target)).usage
        return {one.unit: one.used for one in usage}

    def _call(self, method, **fields):
        with self._driver.client() as client:
            return client.call(method, timeout=_DEADLINE, volume_id=self.volume_id, **fields)
