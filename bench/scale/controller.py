"""The controller under test: a process of its own with the chart's rights, and what it uses."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.children import clean_environment, usage
from bench.scale.client import Client
from bench.scale.control_plane import NAMESPACE, ControlPlane
from bench.scale.processes import running

_PAUSE = 0.05
_LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
MIB = 1024 * 1024


@dataclass(slots=True)
class Controller:
    """A running one.

    Attributes:
        process: of it.
        identity: its name among candidates for leadership.
        begun: when it was started (monotonic clock).

    """

    process: psutil.Process
    identity: str
    begun: float = field(default_factory=time.monotonic)

    def cpu(self) -> float:
        """Return the processor seconds that it has used."""
        return usage(self.process)

    def memory(self) -> float:
        """Return its resident memory in MiB."""
        return self.process.memory_info().rss / MIB

    def peak(self) -> float:
        """Return the most resident memory that it ever had, in MiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

    def leads(self, admin: Client, timeout: float) -> float | None:
        """Wait until it leads; return when it was seen to (monotonic clock), None if it wasn't."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            leases = admin.get(_LEASES)["items"]
            if any(lease["spec"].get("holderIdentity", "").startswith(self.identity) for lease in leases):
                return time.monotonic()
            time.sleep(_PAUSE)
        return None

    def crash(self) -> None:
        """Kill it, as a lost node would."""
        with suppress(psutil.NoSuchProcess):
            self.process.kill()
            self.process.wait()


@contextmanager
def controller(plane: ControlPlane, kubeconfig: Path, identity: str, webhook_port: int) -> Iterator[Controller]:
    """Run one."""
    environment = clean_environment(KUBECONFIG=str(kubeconfig))
    with running(
        _command(plane, identity, webhook_port), log=plane.folder / "controller.log", environment=environment
    ) as process:
        yield Controller(psutil.Process(process.pid), identity)


def _command(plane: ControlPlane, identity: str, webhook_port: int) -> list[str]:
    return [
        sys.executable, "-m", "csi_model", "serve", "--mode=controller", "--registry=kubernetes",
        f"--endpoint=unix://{plane.folder / identity}.sock", f"--namespace={NAMESPACE}", f"--identity={identity}",
        f"--webhook=127.0.0.1:{webhook_port}",
    ]  # fmt: skip
