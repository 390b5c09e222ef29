"""A node: namespaces with a containerd and a kubelet, which can be stopped, killed and rebooted."""

import json
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e.cluster import cgroups, network, node_files, place, programs
from e2e.cluster.images import Image
from e2e.cluster.pki import Pki
from e2e.cluster.processes import Process
from e2e.cluster.shell import CommandFailed, answers, run, until

_INIT = Path(__file__).parent / "node_init.py"
KUBELET_PORT = 10250


class Node:
    """One of the cluster's nodes.

    Its state is in files and in the kernel, so that an object made by another process knows the same node.
    """

    def __init__(self, number: int, nodes: Sequence[int], pki: Pki) -> None:
        self.number = number
        self.name = place.node_name(number)
        self.ip = place.node_ip(number)
        self.folder = place.STATE / self.name
        self._nodes = nodes
        self._pki = pki
        self._group = cgroups.group(number)
        self._process = Process(self.name)

    # --- Its life ---

    def make(self, disk: int, taints: Sequence[Mapping[str, str]] = ()) -> None:
        """Make its files; see node_files.make."""
        node_files.make(self.folder, self.number, self._pki, disk, taints)

    def boot(self) -> None:
        """Start it without containerd and kubelet; CommandFailed, TookTooLong."""
        network.make_node(self.number, self._nodes)
        cgroups.make(self._group)
        namespace = place.namespace_file(place.node_namespace(self.number))
        unshare = "unshare --mount --uts --ipc --pid --cgroup --fork --kill-child --mount-proc"
        init = [sys.executable, "-I", "-S", str(_INIT), str(self.folder), self.name]
        command = [*cgroups.entry(self._group, root=True), "nsenter", f"--net={namespace}", *unshare.split(), *init]
        self._process.start(command, self.folder / "log/init.log")
        until(self._is_up, f"{self.name} is up (see {self.folder / 'log/init.log'})", 30)

    def kill(self) -> None:
        """End everything on it at once; its disks stay. TookTooLong."""
        self._process.kill(signal.SIGKILL)
        cgroups.end(self._group)
        self._process.stop()
        network.remove_node(self.number)
        until(lambda: not loop_devices(self.folder), f"the loop device of {self.name} is free", 30)

    def start(self) -> None:
        """Boot it and start containerd and kubelet."""
        self.boot()
        self.start_containerd()
        self.start_kubelet()

    def reboot(self) -> None:
        """Kill it and start it anew with the disks it had; doesn't wait until it is Ready."""
        self.kill()
        self.start()

    # --- Its services ---

    def start_containerd(self) -> None:
        found = programs.packages()
        self._start("containerd", [found.program("containerd"), "--config", self.folder / "containerd.toml"])
        client = [str(found.program("ctr")), "version"]
        until(lambda: self.run(*client, check=False).count("Version:") > 1, f"containerd of {self.name} answers", 30)

    def restart_containerd(self) -> None:
        """Stop containerd and start it; containers go on."""
        self._stop("containerd")
        self.start_containerd()

    def start_kubelet(self) -> None:
        flags = [
            f"--config={self.folder / 'kubelet.json'}", f"--kubeconfig={self._pki.kubeconfig(self.name)}",
            f"--hostname-override={self.name}", f"--node-ip={self.ip}", "--root-dir=/var/lib/kubelet",
            "--cert-dir=/var/lib/kubelet/pki", "--v=2",
        ]  # fmt: skip
        self._start("kubelet", [programs.kubernetes()["kubelet"], *flags])
        until(lambda: answers(self.ip, KUBELET_PORT), f"kubelet of {self.name} listens", 60)

    def stop_kubelet(self) -> None:
        """Stop kubelet; containers go on."""
        self._stop("kubelet")

    def restart_kubelet(self) -> None:
        self.stop_kubelet()
        self.start_kubelet()

    # --- What tests do on it ---

    def run(self, *command: str | Path, timeout: float = 60.0, check: bool = True, stdin: str = "") -> str:
        """Run a command on the node and return what it prints; CommandFailed."""
        environment = programs.packages().environment()
        return run(*self._within(command), timeout=timeout, check=check, stdin=stdin, environment=environment)

    def path(self, path: str) -> Path:
        """Return where the machine sees a file of the node, its mounts included."""
        return Path(f"/proc/{self._init}/root") / path.lstrip("/")

    def load(self, image: Image) -> None:
        """Import an image that this node hasn't yet; CommandFailed."""
        if self._images().get(image.reference) != image.digest:
            ctr = programs.packages().program("ctr")
            self.run(ctr, "--namespace", "k8s.io", "images", "import", image.archive, timeout=300)
            (self.folder / "images.json").write_text(json.dumps({**self._images(), image.reference: image.digest}))

    def take(self, other: "Node", reference: str) -> None:
        """Import an image that another node has; CommandFailed."""
        ctr, archive = programs.packages().program("ctr"), self.folder / "taken.tar"
        other.run(ctr, "--namespace", "k8s.io", "images", "export", archive, reference, timeout=300)
        self.run(ctr, "--namespace", "k8s.io", "images", "import", archive, timeout=300)
        archive.unlink()

    def logs(self) -> list[Path]:
        return sorted((self.folder / "log").glob("*.log"))

    @property
    def runs(self) -> bool:
        return self._process.pid is not None

    # --- How ---

    @property
    def _init(self) -> int | None:
        """The pid of its PID 1, as the machine sees it."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        try:
            found = children.read_text().split()
        except OSError:
            return None
        return int(found[0]) if found else None

    def _is_up(self) -> bool:
        if self._process.pid is None:
            raise CommandFailed(f"{self.name} didn't start: {(self.folder / 'log/init.log').read_text()[-2000:]}")
        return self.path("/run/node-is-up").exists()

    def _within(self, command: Sequence[str | Path]) -> list[str | Path]:
        if self._init is None:
            raise CommandFailed(f"{self.name} isn't running")
        enter = ["nsenter", "-t", str(self._init), "-m", "-u", "-i", "-n", "-p", "-C", "--"]
        return [*cgroups.entry(self._group), *enter, *command]

    def _start(self, name: str, command: Sequence[str | Path]) -> None:
        """Start a service as a child of the node's PID 1; its pid there is in /run."""
        log = shlex.quote(str(self.folder / f"log/{name}.log"))
        words = shlex.join(map(str, command))
        self.run("sh", "-c", f"setsid {words} </dev/null >>{log} 2>&1 & echo $! >/run/{name}.pid")

    def _stop(self, name: str) -> None:
        pid = self.run("cat", f"/run/{name}.pid").strip()
        self.run("kill", pid, check=False)
        until(lambda: not self.path(f"/proc/{pid}").exists(), f"{name} of {self.name} has ended", 30)

    def _images(self) -> dict[str, str]:
        file = self.folder / "images.json"
        found: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        return found


def loop_devices(folder: Path) -> list[str]:
    """Return the loop devices whose files lie in a folder."""
    listed = json.loads(run("losetup", "--json", "--list", "--output", "NAME,BACK-FILE") or '{"loopdevices": []}')
    return [str(one["name"]) for one in listed["loopdevices"] if str(one["back-file"]).startswith(f"{folder}/")]
