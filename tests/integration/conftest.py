import pytest

from csi_model.demo.kubelet import Kubelet
from tests.harness import Driver, served_model


@pytest.fixture
def s3(tmp_path):
    with served_model(tmp_path / "s3") as server:
        yield server


@pytest.fixture
def driver(tmp_path, mounts):
    with Driver(tmp_path) as driver:
        yield driver


@pytest.fixture
def client(driver):
    with driver.client() as client:
        yield client


@pytest.fixture
def kubelet(client, tmp_path):
    return Kubelet(client, tmp_path / "kubelet")
