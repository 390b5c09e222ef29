"""The driver as its chart installs it."""

import fcntl
import hashlib
import json
import os
from pathlib import Path

from e2e import driver_image
from e2e.cluster import images, place, programs
from e2e.cluster.cluster import Cluster
from e2e.cluster.shell import run
from e2e.kube import Kube, Object

NAMESPACE = "csi-model"
RELEASE = "csi-model"
CHART = driver_image.ROOT / "manifests" / "chart"
VALUES = Path(__file__).parent / "values.yaml"
_STAMP = place.STATE / "driver.json"


class Driver:
    """The installed release."""

    name = "csi-model.io"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.kube = Kube(cluster, NAMESPACE)

    def install(self) -> None:
        """Build the image, load it into the nodes and install the chart, if any of it has changed; CommandFailed."""
        with (place.STATE / "driver.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            image = driver_image.driver()
            wanted = self._fingerprint(image.digest)
            if not _STAMP.exists() or _STAMP.read_text() != wanted:
                for one in (image, images.provisioner(), images.resizer()):
                    self.cluster.load(one)
                self.upgrade("--set", f"image.tag={image.reference.rpartition(':')[2]}")
                self.wait_ready()
                _STAMP.write_text(wanted)

    def upgrade(self, *arguments: str, timeout: float = 120) -> None:
        """Run `helm upgrade --install` with the suite's values and more arguments; doesn't wait for pods."""
        self.helm("upgrade", "--install", RELEASE, str(CHART), f"--values={VALUES}", *arguments, timeout=timeout)

    def helm(self, *arguments: str, timeout: float = 120) -> str:
        """Run helm in the release's namespace; CommandFailed."""
        words: list[str | Path] = ["--namespace", NAMESPACE, "--kubeconfig", self.cluster.kubeconfig]
        if arguments[0] == "upgrade":
            words.append("--create-namespace")
        environment = {**os.environ, "HELM_CACHE_HOME": str(place.STATE / "helm")}
        return run(programs.helm(), *arguments, *words, timeout=timeout, environment=environment)

    def wait_ready(self, timeout: float = 180) -> None:
        """Wait until every pod of the release is there, new and Ready; CommandFailed."""
        for kind in ("daemonset", "deployment"):
            for one in self.kube.all(kind, selector=f"app.kubernetes.io/instance={RELEASE}"):
                self.kube.rolled_out(kind, one["metadata"]["name"], timeout)

    def pods(self, component: str = "") -> list[Object]:
        """Return the pods of the release, or those of a component: `node` or `controller`."""
        selector = f"app.kubernetes.io/instance={RELEASE}"
        return self.kube.all(
            "pods", selector=f"{selector},app.kubernetes.io/component={component}" if component else selector
        )

    @property
    def image(self) -> str:
        """The reference of the installed agents' image."""
        [agents] = self.kube.all("daemonset", selector=f"app.kubernetes.io/instance={RELEASE}")
        return str(agents["spec"]["template"]["spec"]["containers"][0]["image"])

    @staticmethod
    def _fingerprint(image: str) -> str:
        files = [VALUES, *sorted(path for path in CHART.rglob("*") if path.is_file())]
        chart = hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
        return json.dumps({"image": image, "chart": chart})
