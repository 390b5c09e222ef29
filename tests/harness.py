"""The whole driver as a child process, and a model in an object store: real processes on real sockets."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from csi_model.demo.s3server import S3Server
from csi_model.demo.s3server_auth import Key
from csi_model.rpc.client import CsiClient

ROOT = Path(__file__).resolve().parent.parent
KEY_ID, SECRET = "harness-key", "harness-secret"
SECRETS = {"accessKeyId": KEY_ID, "secretAccessKey": SECRET}
MODEL = {"config.json": 700, "tokenizer.json": 90_000, "empty.txt": 0, "weights/model.safetensors": 40_000_000}
_PATIENCE = 20.0  # seconds for a start or a stop on a machine that is busy


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
    """``csi-model serve`` on directories under ``work``, which stay when it is stopped or killed; may start again."""

    def __init__(self, work: Path, *options: str, mode: str = "all") -> None:
        self.socket = work / "csi.sock"
        self.store = work / "store"
        self.registry = work / "registry"
        self.log = work / "driver.log"
        self.cpu_to_probe = 0.0
        """Processor seconds from exec to the first answered Probe: what a start costs, however busy the machine is."""
        self._command = [
            sys.executable, "-m", "csi_model", "serve", "--mode", mode, "--endpoint", f"unix://{self.socket}",
            "--store", str(self.store), "--registry", str(self.registry), "--node-id", "node-1", *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start, and wait until Probe is answered."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CSI"))}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        with self.client() as client:
            client.probe(timeout=_PATIENCE)
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        self.cpu_to_probe = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # proc(5): utime, stime
        return self

    def client(self) -> CsiClient:
        return CsiClient(f"unix://{self.socket}")

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=_PATIENCE)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.stop()
