from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi_model.demo.kubelet import Volume
from csi_model.demo.s3server import S3Server
from tests.harness import Driver


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Launches drivers; whatever still runs at the end is killed."""
    launched: list[Driver] = []

    def launch(*options: str, directory: Path = tmp_path, environment: dict[str, str] | None = None) -> Driver:
        launched.append(Driver(directory, *options, environment=environment).launch())
        return launched[-1]

    yield launch
    for driver in launched:
        driver.kill()


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
