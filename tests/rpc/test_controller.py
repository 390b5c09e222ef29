from collections.abc import Callable
from typing import Any

import pytest
from grpc import StatusCode

from csi_model import errors
from csi_model.core.placement import NODE_KEY
from csi_model.rpc.controller import ControllerService
from csi_model.rpc.generated import csi_pb2
from tests.rpc.conftest import MOUNT, Driver

RPC = csi_pb2.ControllerServiceCapability.RPC
MODE = csi_pb2.VolumeCapability.AccessMode
NO_TYPE = csi_pb2.VolumeCapability(access_mode=MODE(mode=MODE.SINGLE_NODE_WRITER))
NO_MODE = csi_pb2.VolumeCapability(mount={})
UNKNOWN_MODE = csi_pb2.VolumeCapability(mount={}, access_mode=MODE(mode=99))  # type: ignore[arg-type]
GROUP = csi_pb2.VolumeCapability(mount={"volume_mount_group": "1"}, access_mode=NO_TYPE.access_mode)
GOOD = {"name": "pvc-1", "volume_capabilities": [MOUNT]}


@pytest.mark.parametrize(
    ("name", "fields", "names"),
    [
        ("CreateVolume", {**GOOD, "name": ""}, "name"),
        ("CreateVolume", {**GOOD, "name": "x" * 129}, "name"),
        ("CreateVolume", {**GOOD, "name": "a\nb\0"}, "name"),
        ("CreateVolume", {**GOOD, "volume_capabilities": []}, "volume_capabilities"),
        ("CreateVolume", {**GOOD, "volume_capabilities": [NO_TYPE]}, "volume_capabilities[0].access_type"),
        ("CreateVolume", {**GOOD, "volume_capabilities": [MOUNT, NO_MODE]}, "volume_capabilities[1].access_mode"),
        ("CreateVolume", {**GOOD, "volume_capabilities": [UNKNOWN_MODE]}, "volume_capabilities[0].access_mode"),
        ("CreateVolume", {**GOOD, "volume_capabilities": [GROUP]}, "volume_mount_group"),
        ("CreateVolume", {**GOOD, "capacity_range": {"required_bytes": -1}}, "capacity_range"),
        ("CreateVolume", {**GOOD, "capacity_range": {"required_bytes": 2, "limit_bytes": 1}}, "capacity_range"),
        ("CreateVolume", {**GOOD, "volume_content_source": {"volume": {"volume_id": "m"}}}, "volume_content_source"),
        ("CreateVolume", {**GOOD, "volume_content_source": {}}, "volume_content_source"),
        ("CreateVolume", {**GOOD, "mutable_parameters": {"pins": "true"}}, "mutable_parameters.pins"),
        ("ControllerModifyVolume", {"mutable_parameters": {"pin": "true"}}, "volume_id"),
        ("DeleteVolume", {}, "volume_id"),
        ("ControllerGetVolume", {}, "volume_id"),
        ("ListVolumes", {"max_entries": -1}, "max_entries"),
        ("ValidateVolumeCapabilities", {"volume_capabilities": [MOUNT]}, "volume_id"),
        ("ValidateVolumeCapabilities", {"volume_id": "m"}, "volume_capabilities"),
    ],
)
def test_what_is_missing_or_malformed_is_an_invalid_argument_by_name(
    driver: Driver, name: str, fields: dict[str, Any], names: str
) -> None:
    refused = driver.refusal(name, **fields)
    assert refused.code is StatusCode.INVALID_ARGUMENT
    assert names in refused.text.partition(": ")[0]


def test_a_volume_is_created_and_found(driver: Driver) -> None:
    volume = driver.create(capacity_range={"required_bytes": 5}, parameters={"source": "s3://models/other"})
    assert volume.capacity_bytes == 5
    assert volume.volume_context["source"] == "s3://models/other"
    assert driver.call("ControllerGetVolume", volume_id=volume.volume_id).volume == volume
    assert not volume.accessible_topology


def test_get_volume_has_a_status(driver: Driver) -> None:
    answer = driver.call("ControllerGetVolume", volume_id=driver.create().volume_id)
    assert answer.HasField("status")


def test_a_volume_of_another_size_exists_already(driver: Driver) -> None:
    driver.create(capacity_range={"required_bytes": 5})
    refused = driver.refusal("CreateVolume", **GOOD, capacity_range={"required_bytes": 6})
    assert refused.code is StatusCode.ALREADY_EXISTS


def test_secrets_reach_the_verb(driver: Driver) -> None:
    driver.create(secrets={"secretAccessKey": "hunter2"})
    assert driver.volumes.secrets == [{"secretAccessKey": "hunter2"}]


@pytest.mark.parametrize("volume_id", ["fake-vol-id", "../../etc", "x" * 500])
def test_deleting_what_never_was_succeeds(driver: Driver, volume_id: str) -> None:
    driver.call("DeleteVolume", volume_id=volume_id)


def test_a_deleted_volume_is_not_found(driver: Driver) -> None:
    volume_id = driver.create().volume_id
    driver.call("DeleteVolume", volume_id=volume_id)
    assert driver.refusal("ControllerGetVolume", volume_id=volume_id).code is StatusCode.NOT_FOUND


def test_volumes_are_listed_page_by_page(driver: Driver) -> None:
    made = {driver.create(f"pvc-{n}").volume_id for n in range(5)}
    first = driver.call("ListVolumes", max_entries=3)
    rest = driver.call("ListVolumes", max_entries=3, starting_token=first.next_token)
    assert (len(first.entries), len(rest.entries), rest.next_token) == (3, 2, "")
    assert {entry.volume.volume_id for entry in [*first.entries, *rest.entries]} == made


def test_a_token_that_we_did_not_issue_is_aborted(driver: Driver) -> None:
    assert driver.refusal("ListVolumes", starting_token="invalid-token").code is StatusCode.ABORTED


def test_capabilities_are_confirmed_as_asked(driver: Driver) -> None:
    asked = {"volume_capabilities": [MOUNT], "parameters": {"source": "s3://a/b"}, "volume_context": {"schema": "1"}}
    asked |= {"mutable_parameters": {"pin": "true"}}
    answer = driver.call("ValidateVolumeCapabilities", volume_id=driver.create().volume_id, **asked)
    assert answer.confirmed == csi_pb2.ValidateVolumeCapabilitiesResponse.Confirmed(**asked)


def test_what_a_volume_can_not_is_not_confirmed_and_says_why(driver: Driver) -> None:
    driver.volumes.reason = "a model volume is read-only"
    volume_id = driver.create().volume_id
    answer = driver.call("ValidateVolumeCapabilities", volume_id=volume_id, volume_capabilities=[MOUNT])
    assert not answer.HasField("confirmed")
    assert answer.message == "a model volume is read-only"


def test_capabilities_of_no_volume_are_not_found(driver: Driver) -> None:
    refused = driver.refusal("ValidateVolumeCapabilities", volume_id="gone", volume_capabilities=[MOUNT])
    assert refused.code is StatusCode.NOT_FOUND


def test_a_volume_that_may_go_anywhere_has_no_topology(driver: Driver) -> None:
    for name, placement in (("pvc-1", "prefer"), ("pvc-2", "any")):
        assert not driver.create(name, parameters={"placement": placement}).accessible_topology


def test_a_volume_that_requires_its_copy_is_where_it_is_staged(driver: Driver) -> None:
    volume = driver.create(parameters={"placement": "require", "auth": "anonymous"})
    digest = volume.volume_context["revision"]
    [topology] = volume.accessible_topology
    assert dict(topology.segments) == {f"csi-model.io/m-{digest[:40]}": "staged"}
    assert driver.call("ControllerGetVolume", volume_id=volume.volume_id).volume == volume
    assert driver.call("ListVolumes").entries[0].volume == volume


def test_mutable_parameters_come_first(driver: Driver) -> None:
    volume = driver.create(parameters={"pin": "false"}, mutable_parameters={"pin": "true"})
    assert volume.volume_context["pin"] == "true"


def test_a_volume_is_changed_and_its_context_is_not(driver: Driver) -> None:
    volume = driver.create()
    driver.call("ControllerModifyVolume", volume_id=volume.volume_id, mutable_parameters={"pin": "true"})
    assert driver.volumes.records[volume.volume_id].wanted.pin
    assert driver.call("ControllerGetVolume", volume_id=volume.volume_id).volume == volume


def test_a_change_of_nothing_succeeds(driver: Driver) -> None:
    driver.call("ControllerModifyVolume", volume_id=driver.create().volume_id)


def test_a_change_of_what_cannot_be_changed_is_an_invalid_argument(driver: Driver) -> None:
    volume_id = driver.create().volume_id
    refused = driver.refusal("ControllerModifyVolume", volume_id=volume_id, mutable_parameters={"source": "s3://a/b"})
    assert refused.code is StatusCode.INVALID_ARGUMENT
    assert "allowed are warmReplicas, warmNodeSelector, pin" in refused.text


@pytest.mark.parametrize("mutable", [{}, {"pin": "true"}])
def test_a_change_of_no_volume_is_not_found(driver: Driver, mutable: dict[str, str]) -> None:
    refused = driver.refusal("ControllerModifyVolume", volume_id="gone", mutable_parameters=mutable)
    assert refused.code is StatusCode.NOT_FOUND


def test_a_claim_that_lacks_something_is_tried_again_soon(driver: Driver) -> None:
    driver.volumes.fail_with = errors.ClaimIncomplete("the claim has no annotation model")
    assert driver.refusal("CreateVolume", **GOOD).code is StatusCode.FAILED_PRECONDITION


def capabilities(driver: Driver) -> list[int]:
    return [item.rpc.type for item in driver.call("ControllerGetCapabilities").capabilities]


def test_the_controllers_capabilities(driver: Driver) -> None:
    wanted = [
        RPC.CREATE_DELETE_VOLUME,
        RPC.LIST_VOLUMES,
        RPC.GET_VOLUME,
        RPC.SINGLE_NODE_MULTI_WRITER,
        RPC.MODIFY_VOLUME,
    ]
    assert capabilities(driver) == wanted


def test_capacity_is_offered_where_there_is_a_store(make_driver: Callable[..., Driver]) -> None:
    driver = make_driver(controller=ControllerService(make_driver().volumes, capacity=lambda _: 123))
    assert RPC.GET_CAPACITY in capabilities(driver)
    assert driver.call("GetCapacity").available_capacity == 123


def test_capacity_is_asked_of_the_node_that_the_topology_names(make_driver: Callable[..., Driver]) -> None:
    rooms = {"node1": 7}
    driver = make_driver(controller=ControllerService(make_driver().volumes, capacity=rooms.__getitem__))
    topology = csi_pb2.Topology(segments={NODE_KEY: "node1"})
    assert driver.call("GetCapacity", accessible_topology=topology).available_capacity == 7


def test_capacity_is_not_offered_without_a_store(driver: Driver) -> None:
    assert driver.refusal("GetCapacity").code is StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("name", ["ControllerPublishVolume", "CreateSnapshot", "ControllerExpandVolume"])
def test_what_is_not_offered_is_unimplemented_with_a_text(driver: Driver, name: str) -> None:
    refused = driver.refusal(name)
    assert refused.code is StatusCode.UNIMPLEMENTED
    assert name in refused.text


@pytest.mark.parametrize(("deadline", "low", "high"), [(10, 5, 9.5), (1, 0.1, 0.2), (1000, 110, 110)])
def test_create_waits_a_second_less_than_its_caller(driver: Driver, deadline: float, low: float, high: float) -> None:
    driver.call("CreateVolume", timeout=deadline, **GOOD)
    assert low <= driver.volumes.timeouts[0] <= high


def test_an_unsupported_capability_is_an_invalid_argument(driver: Driver) -> None:
    driver.volumes.fail_with = errors.UnsupportedCapability("use ReadOnlyMany")
    assert driver.refusal("CreateVolume", **GOOD).code is StatusCode.INVALID_ARGUMENT
