"""Whole processes: a controller that steers, a node's agent that does what it is told, and an API server."""

import signal
from collections.abc import Callable

from csi_model.demo.s3server import S3Server
from tests.cli.conftest import parameters
from tests.cli.test_in_cluster import CLAIM, UID, api, join, page, wait_for
from tests.cluster.steering.world import NODES, World, node_item
from tests.fakes.apiserver import ApiServer
from tests.harness import Driver

__all__ = ["api", "join"]  # fixtures
Drive = Callable[..., Driver]
LEASES = "/apis/coordination.k8s.io/v1/namespaces/csi-model/leases"


def holder(api: ApiServer) -> str:
    return next((item["spec"]["holderIdentity"] for item in api.all(LEASES)), "")


def test_a_claim_that_asks_for_it_is_staged_and_labelled_without_any_pod(
    join: Drive, api: ApiServer, s3: S3Server
) -> None:
    api.create(NODES, node_item("node-1"))
    controller = join("controller").ready()
    join("node").ready()
    volume = controller.kubelet().create(f"pvc-{UID}", parameters(s3, "one") | CLAIM | {"warmReplicas": "1"})
    world = World(api)
    wait_for(lambda: "staged" in world.labels("node-1").values())
    wait_for(lambda: world.status(volume.volume_id).get("nodes") == "1/1")


def test_a_controller_lets_go_of_its_lease_when_it_ends(join: Drive, api: ApiServer) -> None:
    first = join("controller", "--identity", "first").ready()
    wait_for(lambda: holder(api).startswith("first_"))
    assert wait_for(lambda: "csi_model_leader 1.0" in page(first, "/metrics")[1])
    second = join("controller", "--identity", "second").ready()
    wait_for(lambda: "csi_model_leader 0.0" in page(second, "/metrics")[1])
    first.process.send_signal(signal.SIGTERM)
    wait_for(lambda: holder(api).startswith("second_"))
