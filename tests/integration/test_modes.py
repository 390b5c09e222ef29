"""Processes: how fast they start, and controller and node apart."""

from csi_model.demo.kubelet import Kubelet
from csi_model.settings import StoreSettings
from csi_model.store.store import Store
from tests.harness import SECRETS, Driver

BLOBS = 20_000


def test_a_driver_with_a_full_store_answers_probe_after_less_than_a_second_of_work(tmp_path, mounts):
    Store(StoreSettings(tmp_path / "store")).close()
    for n in range(BLOBS):
        directory = tmp_path / "store" / "blobs" / f"{n % 256:02x}"
        directory.mkdir(exist_ok=True)
        (directory / f"{n:062x}").touch()
    with Driver(tmp_path) as driver:
        assert driver.cpu_to_probe < 1.0


def test_controller_and_node_run_as_two_processes(tmp_path, s3, mounts):
    with Driver(tmp_path, mode="controller") as controller, controller.client() as client:
        volume = Kubelet(client, tmp_path / "provisioner").create(
            "pvc-1", {"source": "s3://models/tiny", "endpoint": s3.url}, secrets=SECRETS
        )
    with Driver(tmp_path, mode="node") as node, node.client() as client:
        kubelet = Kubelet(client, tmp_path / "kubelet")
        kubelet.stage(volume)
        assert (kubelet.publish(volume, "pod-1") / "config.json").stat().st_size
