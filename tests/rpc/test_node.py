from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from grpc import StatusCode

from csi_model.errors import InvalidArgument
from csi_model.rpc.generated import csi_pb2
from csi_model.rpc.node import NodeService
from tests.fakes.verbs import FakeNode
from tests.rpc.conftest import MOUNT, Driver

RPC = csi_pb2.NodeServiceCapability.RPC
MODE = csi_pb2.VolumeCapability.AccessMode
BLOCK = csi_pb2.VolumeCapability(block={}, access_mode=MOUNT.access_mode)
STAGE = {"volume_id": "m-1", "staging_target_path": "/staging", "volume_capability": MOUNT}
PUBLISH = {**STAGE, "target_path": "/target"}
UNSTAGE = {"volume_id": "m-1", "staging_target_path": "/staging"}
UNPUBLISH = {"volume_id": "m-1", "target_path": "/target"}
STATS = {"volume_id": "m-1", "volume_path": "/target"}


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


@pytest.mark.parametrize(
    ("name", "fields", "missing"),
    [
        ("NodeStageVolume", STAGE, "volume_id"),
        ("NodeStageVolume", STAGE, "staging_target_path"),
        ("NodeStageVolume", STAGE, "volume_capability"),
        ("NodeUnstageVolume", UNSTAGE, "volume_id"),
        ("NodeUnstageVolume", UNSTAGE, "staging_target_path"),
        ("NodePublishVolume", PUBLISH, "volume_id"),
        ("NodePublishVolume", PUBLISH, "target_path"),
        ("NodePublishVolume", PUBLISH, "volume_capability"),
        ("NodePublishVolume", without(PUBLISH, "staging_target_path"), "volume_capability"),
        ("NodeUnpublishVolume", UNPUBLISH, "volume_id"),
        ("NodeUnpublishVolume", UNPUBLISH, "target_path"),
        ("NodeGetVolumeStats", STATS, "volume_id"),
        ("NodeGetVolumeStats", STATS, "volume_path"),
    ],
)
def test_a_missing_field_is_an_invalid_argument_by_name(
    driver: Driver, name: str, fields: dict[str, Any], missing: str
) -> None:
    refused = driver.refusal(name, **without(fields, missing))
    assert (refused.code, refused.text) == (StatusCode.INVALID_ARGUMENT, f"{missing}: is missing")


@pytest.mark.parametrize("path", ["some/path", "/a\0b"])
@pytest.mark.parametrize("name", ["NodeStageVolume", "NodeUnstageVolume"])
def test_a_path_that_is_not_absolute_is_an_invalid_argument(driver: Driver, name: str, path: str) -> None:
    fields = {**(STAGE if name == "NodeStageVolume" else UNSTAGE), "staging_target_path": path}
    assert driver.refusal(name, **fields).code is StatusCode.INVALID_ARGUMENT


def test_a_volume_id_that_csi_forbids_is_not_staged(driver: Driver) -> None:
    assert driver.refusal("NodeStageVolume", **{**STAGE, "volume_id": "x" * 129}).code is StatusCode.INVALID_ARGUMENT


def test_a_volume_is_staged_published_and_taken_back(driver: Driver) -> None:
    driver.stage(publish_context={"device": "/dev/mock"})
    driver.call("NodePublishVolume", **PUBLISH)
    assert [str(path) for path in driver.node.published] == ["/target"]
    driver.call("NodeUnpublishVolume", **UNPUBLISH)
    driver.call("NodeUnstageVolume", **UNSTAGE)
    assert (driver.node.published, driver.node.staged) == ({}, {})


def test_the_whole_request_reaches_the_verb(driver: Driver) -> None:
    driver.stage(volume_context={"schema": "1"}, secrets={"key": "hunter2"})
    (staged,) = driver.node.staged.values()
    assert (staged.volume_id, str(staged.staging_path), staged.capability.mode) == ("m-1", "/staging", 1)
    assert (staged.context, staged.secrets) == ({"schema": "1"}, {"key": "hunter2"})


def test_publishing_without_a_staging_path_is_a_failed_precondition(driver: Driver) -> None:
    refused = driver.refusal("NodePublishVolume", **without(PUBLISH, "staging_target_path"))
    assert refused.code is StatusCode.FAILED_PRECONDITION
    assert "staging_target_path" in refused.text


INLINE = {
    **without(PUBLISH, "staging_target_path"),
    "volume_context": {"source": "s3://models/qwen", "csi.storage.k8s.io/ephemeral": "true"},
    "secrets": {"key": "hunter2"},
}


def test_an_inline_volume_is_published_without_a_staging_path(driver: Driver) -> None:
    driver.call("NodePublishVolume", **INLINE)
    (published,) = driver.node.published.values()
    assert published.staging_path is None
    assert (published.context["source"], published.secrets) == ("s3://models/qwen", {"key": "hunter2"})


def test_an_inline_volume_gets_the_time_that_a_staged_one_gets(driver: Driver) -> None:
    driver.call("NodePublishVolume", timeout=60, **INLINE)
    assert driver.node.timeouts == [pytest.approx(57, abs=1)]


@pytest.mark.parametrize("value", ["false", "", "TRUE"])
def test_only_true_makes_a_volume_inline(driver: Driver, value: str) -> None:
    context = {"csi.storage.k8s.io/ephemeral": value}
    refused = driver.refusal("NodePublishVolume", **{**INLINE, "volume_context": context})
    assert refused.code is StatusCode.FAILED_PRECONDITION


def test_inline_volumes_wait_in_the_slots_of_staged_ones(make_driver: Callable[..., Driver]) -> None:
    node = FakeNode()
    driver = make_driver(node=NodeService(node, node_id="node-1", waiting=1))
    node.gate.close()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(driver.call, "NodePublishVolume", **INLINE)
        node.gate.wait_for(1)
        assert driver.refusal("NodeStageVolume", **STAGE).code is StatusCode.ABORTED
        node.gate.open()
        waiting.result()
    driver.call("NodePublishVolume", **INLINE)


@pytest.mark.parametrize(("name", "fields"), [("NodeStageVolume", STAGE), ("NodePublishVolume", PUBLISH)])
def test_an_unsupported_capability_is_a_failed_precondition(driver: Driver, name: str, fields: dict[str, Any]) -> None:
    refused = driver.refusal(name, **{**fields, "volume_capability": BLOCK})
    assert refused.code is StatusCode.FAILED_PRECONDITION
    assert "Filesystem" in refused.text


def test_undoing_what_was_never_done_succeeds(driver: Driver) -> None:
    driver.call("NodeUnpublishVolume", volume_id="x" * 500, target_path="/nowhere")
    driver.call("NodeUnstageVolume", volume_id="x" * 500, staging_target_path="/nowhere")


def test_stats_count_bytes_and_inodes(driver: Driver) -> None:
    driver.stage()
    driver.call("NodePublishVolume", **PUBLISH)
    usage = driver.call("NodeGetVolumeStats", **STATS).usage
    assert [(u.unit, u.total, u.used, u.available) for u in usage] == [(1, 100, 60, 40), (2, 9, 9, 0)]


@pytest.mark.parametrize("path", ["/elsewhere", "some/path", "/a\0b"])
def test_stats_of_a_path_without_the_volume_are_not_found(driver: Driver, path: str) -> None:
    refused = driver.refusal("NodeGetVolumeStats", volume_id="m-1", volume_path=path)
    assert refused.code is StatusCode.NOT_FOUND


def test_the_nodes_capabilities(driver: Driver) -> None:
    answer = driver.call("NodeGetCapabilities")
    wanted = [RPC.STAGE_UNSTAGE_VOLUME, RPC.GET_VOLUME_STATS, RPC.SINGLE_NODE_MULTI_WRITER]
    assert [item.rpc.type for item in answer.capabilities] == wanted


def test_the_node_tells_its_name_and_place(driver: Driver) -> None:
    answer = driver.call("NodeGetInfo")
    assert (answer.node_id, answer.max_volumes_per_node) == ("node-1", 0)
    assert dict(answer.accessible_topology.segments) == {"csi-model.io/node": "node-1"}


@pytest.mark.parametrize("name", ["", "n" * 257])
def test_a_node_name_that_csi_forbids_is_refused_at_start(name: str) -> None:
    with pytest.raises(InvalidArgument):
        NodeService(FakeNode(), node_id=name)


def test_expanding_is_unimplemented(driver: Driver) -> None:
    assert driver.refusal("NodeExpandVolume").code is StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(("deadline", "low", "high"), [(120, 110, 110), (60, 50, 58), (8, 3, 6.5), (1, 0.1, 0.1)])
def test_stage_answers_before_its_callers_deadline(driver: Driver, deadline: float, low: float, high: float) -> None:
    driver.call("NodeStageVolume", timeout=deadline, **STAGE)
    assert low <= driver.node.timeouts[0] <= high


def test_stage_without_a_deadline_waits_as_long_as_for_kubelet(driver: Driver) -> None:
    driver.method("NodeStageVolume")(csi_pb2.NodeStageVolumeRequest(**STAGE))
    assert driver.node.timeouts == [110]
