"""The whole driver as a child process, and a model in an object store: real processes on real sockets."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from csi_model.demo.kubelet import Kubelet
from csi_model.demo.s3server import S3Server
from csi_model.demo.s3server_auth import Key
from csi_model.rpc.client import CsiClient

ROOT = Path(__file__).resolve().parent.parent
KEY_ID, SECRET = "harness-key", "harness-secret"
SECRETS = {"accessKeyId": KEY_ID, "secretAccessKey": SECRET}
MODEL = {"config.json": 700, "tokenizer.json": 90_000, "empty.txt": 0, "weights/model.safetensors": 40_000_000}
PATIENCE = 30.0  # seconds for a start or a stop on a machine that is busy


def content(name: str, size: int) -> bytes:
    """Make bytes that belong to a name and nothing else."""
    return hashlib.shake_128(name.encode()).digest(size)


@contextmanager
def served_model(directory: Path, *, versioned: bool = True) -> Iterator[S3Server]:
    """Serve ``s3://models/tiny``, readable with SECRETS."""
    with S3Server(directory, keys={KEY_ID: Key(SECRET)}) as server:
        server.create_bucket("models", versioned=versioned)
        for name, size in MODEL.items():
            server.put("models", f"tiny/{name}", content(name, size))
        yield server


class Driver:
    """``csi-model serve`` on directories under ``work``, which stay when it ends; it may start again.

    Args:
        work: an existing directory.
        options: of ``serve``; they win over those that the driver gets anyway.
        mode: ``all``, ``controller`` or ``node``.
        environment: variables to add. With any, the endpoint isn't an option, so that it can be one of them.

    """

    def __init__(
        self, work: Path, *options: str, mode: str = "all", environment: Mapping[str, str] | None = None
    ) -> None:
        self.work = work
        self.socket = work / "csi.sock"
        self.store = work / "store"
        self.registry = work / "registry"
        self.log = work / "driver.log"
        """Monotonic seconds just before exec."""
        self.cpu_to_probe = 0.0
        """Processor seconds from exec to the first answered Probe: what a start costs, however busy the machine is."""
        self.process: subprocess.Popen[bytes]
        self._environment = dict(environment or {})
        endpoint = () if environment else ("--endpoint", f"unix://{self.socket}")
        self._command = [
            sys.executable, "-m", "csi_model", "serve", "--mode", mode, *endpoint,
            "--store", str(self.store), "--registry", str(self.registry), "--node-id", "node-1", *options,
        ]  # fmt: skip
        self._open = ExitStack()

    def launch(self) -> Self:
        """Start; it may still refuse to."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CSI"))}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=ROOT, env={**clean, **self._environment}, stdout=log, stderr=log
            )
        return self

    def start(self) -> Self:
        """Start, and wait until Probe is answered."""
        return self.launch().ready()

    def ready(self) -> Self:
        """Wait until Probe is answered."""
        with self.client() as client:
            client.probe(timeout=PATIENCE)
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        self.cpu_to_probe = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # proc(5): utime, stime
        return self

    def client(self) -> CsiClient:
        return CsiClient(f"unix://{self.socket}")

    def kubelet(self, **how: Any) -> Kubelet:
        """Return a kubelet that calls until the driver ends."""
        return Kubelet(self._open.enter_context(self.client()), self.work / "kubelet", **how)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; returns the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        self._open.close()
        return status

    def kill(self) -> None:
        """kill -9, which does nothing to one that has ended."""
        self.stop(signal.SIGKILL)

    def ended(self) -> tuple[int, str]:
        """Wait for an end of its own; returns the exit status and what it said."""
        return self.process.wait(PATIENCE), self.log.read_text()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
        self._open.close()
