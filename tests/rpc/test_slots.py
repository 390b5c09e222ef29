import statistics
import time
from typing import Any

import grpc
import pytest

from csi_model.errors import TooManyCalls
from csi_model.rpc import controller, node, server
from csi_model.rpc.generated import csi_pb2, csi_pb2_grpc
from csi_model.rpc.slots import Slots
from tests.rpc.conftest import MOUNT, Driver

CALLS = 200


def test_with_no_slot_free_the_answer_comes_at_once() -> None:
    slots = Slots("NodeStageVolume", 1)
    with slots.take(), pytest.raises(TooManyCalls, match="1 NodeStageVolume"), slots.take():
        pass


def test_a_slot_is_given_back_also_after_an_error() -> None:
    slots = Slots("NodeStageVolume", 1)
    for _ in range(3):
        with pytest.raises(ValueError, match="why"), slots.take():
            raise ValueError("why")


def test_waiting_calls_can_not_fill_the_pool() -> None:
    assert controller.WAITING + node.WAITING + node.BRIEF <= server.WORKERS - 32


@pytest.fixture
def held(driver: Driver) -> list[Any]:
    """200 held NodeStageVolume and 200 slow CreateVolume calls: as many as may wait do, the others are answered."""
    driver.node.gate.close()
    driver.volumes.gate.close()
    stage, create = driver.method("NodeStageVolume"), driver.method("CreateVolume")
    calls = []
    for n in range(CALLS):
        asked = {"volume_id": f"m-{n}", "staging_target_path": f"/staging/{n}", "volume_capability": MOUNT}
        calls.append(stage.future(csi_pb2.NodeStageVolumeRequest(**asked), timeout=60))
        volume = csi_pb2.CreateVolumeRequest(name=f"pvc-{n}", volume_capabilities=[MOUNT])
        calls.append(create.future(volume, timeout=60))
    driver.node.gate.wait_for(node.WAITING)
    driver.volumes.gate.wait_for(controller.WAITING)
    return calls


def test_a_probe_is_fast_however_many_calls_wait(driver: Driver, held: list[Any]) -> None:
    seconds = []
    for _ in range(CALLS):
        started = time.perf_counter()
        # As kubelet does: a new connection for each call (options that differ keep gRPC from sharing one).
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(server.channel_target(driver.socket), options) as channel:
            assert csi_pb2_grpc.IdentityStub(channel).Probe(csi_pb2.ProbeRequest(), timeout=10).ready.value
        seconds.append(time.perf_counter() - started)
    assert statistics.quantiles(seconds, n=100)[98] < 0.1


def test_calls_without_a_slot_are_told_to_come_again(driver: Driver, held: list[Any]) -> None:
    driver.node.gate.open()
    driver.volumes.gate.open()
    codes = [call.code() for call in held]
    waited = node.WAITING + controller.WAITING
    assert codes.count(grpc.StatusCode.OK) >= waited
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.ABORTED}


def test_other_calls_go_on_while_stage_calls_wait(driver: Driver, held: list[Any]) -> None:
    driver.call("NodeUnstageVolume", timeout=5, volume_id="m-0", staging_target_path="/staging/0")
