import re
from collections.abc import Callable

from grpc import StatusCode

from csi_model.errors import StoreUnusable
from csi_model.rpc.generated import csi_pb2
from csi_model.rpc.identity import IdentityService
from tests.rpc.conftest import Driver

SERVICE = csi_pb2.PluginCapability.Service


def test_the_name_is_one_that_csi_allows(driver: Driver) -> None:
    answer = driver.call("GetPluginInfo")
    assert answer.name == "csi-model.io"
    assert re.fullmatch(r"[a-zA-Z][A-Za-z0-9-._]{0,61}[a-zA-Z]", answer.name)
    assert answer.vendor_version


def test_controller_and_node_advertise_the_same(make_driver: Callable[..., Driver]) -> None:
    answers = [
        make_driver(controller=None).call("GetPluginCapabilities"),
        make_driver(node=None).call("GetPluginCapabilities"),
    ]
    assert answers[0] == answers[1]
    assert [item.service.type for item in answers[0].capabilities] == [
        SERVICE.CONTROLLER_SERVICE,
        SERVICE.VOLUME_ACCESSIBILITY_CONSTRAINTS,
    ]


def test_a_probe_is_ready(driver: Driver) -> None:
    answer = driver.call("Probe")
    assert answer.HasField("ready")
    assert answer.ready.value


def test_an_unhealthy_driver_fails_its_probe_with_the_reason(make_driver: Callable[..., Driver]) -> None:
    def healthy() -> None:
        raise StoreUnusable("/data is not mounted")

    refused = make_driver(identity=IdentityService(healthy)).refusal("Probe")
    assert (refused.code, refused.text) == (StatusCode.FAILED_PRECONDITION, "/data is not mounted")


def test_a_controller_serves_no_node_calls(make_driver: Callable[..., Driver]) -> None:
    assert make_driver(node=None).refusal("NodeGetInfo").code is StatusCode.UNIMPLEMENTED


def test_a_controller_tells_what_nodes_can_since_csi_resizer_asks_it(make_driver: Callable[..., Driver]) -> None:
    said = make_driver(node=None).call("NodeGetCapabilities")
    assert said == make_driver().call("NodeGetCapabilities")
    assert said.capabilities


def test_a_node_serves_no_controller_calls(make_driver: Callable[..., Driver]) -> None:
    assert make_driver(controller=None).refusal("ControllerGetCapabilities").code is StatusCode.UNIMPLEMENTED
