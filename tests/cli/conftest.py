import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_model.demo.kubelet import Kubelet, Volume
from csi_model.demo.s3server import S3Server
from csi_model.rpc.client import CsiClient

PATIENCE = 30.0  # seconds until a test that hangs fails


class Driver:
    """``csi-model serve`` as a child process."""

    def __init__(self, directory: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.directory, self.store = directory, directory / "store"
        self.socket, self.log = directory / "csi.sock", directory / "driver.log"
        places = ["--store", str(self.store), "--registry", str(directory / "registry"), "--node-id", "node-1"]
        endpoint = [] if environment else ["--endpoint", f"unix://{self.socket}"]
        command = [sys.executable, "-m", "csi_model", "serve", *endpoint, *places, *arguments]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("CSI_", "CSIMODEL_"))}
        self.began = time.monotonic()
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stderr=log, env={**clean, **(environment or {})})
        self.client = CsiClient(f"unix://{self.socket}")

    def ready(self) -> "Driver":
        self.client.probe(timeout=PATIENCE)
        return self

    def end(self, number: int = signal.SIGTERM) -> int:
        self.client.close()
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def exit(self) -> tuple[int, str]:
        """Wait for its own end; what it said."""
        return self.process.wait(PATIENCE), self.log.read_text()

    def kubelet(self, **how: Any) -> Kubelet:
        return Kubelet(self.client, self.directory / "kubelet", **how)


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    started: list[Driver] = []

    def start(*arguments: str, directory: Path = tmp_path, environment: dict[str, str] | None = None) -> Driver:
        started.append(Driver(directory, *arguments, environment=environment))
        return started[-1]

    yield start
    for driver in started:
        driver.client.close()
        driver.process.kill()
        driver.process.wait()


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with S3Server(tmp_path / "s3") as server:
        server.create_bucket("models", versioned=True)
        server.put("models", "one/weights.bin", bytes(range(256)) * 1024)
        server.put("models", "one/config.json", b"{}")
        server.put("models", "two/weights.bin", b"two" * 100_000)
        yield server


def parameters(s3: S3Server, prefix: str) -> dict[str, str]:
    return {"source": f"s3://models/{prefix}", "endpoint": s3.url, "auth": "anonymous"}


@pytest.fixture
def staged(drive: Callable[..., Driver], s3: S3Server) -> tuple[Driver, Volume]:
    """A driver whose store holds two models: ``one`` is held by a volume, ``two`` by nobody."""
    driver = drive().ready()
    kubelet = driver.kubelet()
    held, unused = (kubelet.create(f"pvc-{name}", parameters(s3, name)) for name in ("one", "two"))
    for volume in (held, unused):
        kubelet.stage(volume)
    kubelet.unstage(unused)
    return driver, held
