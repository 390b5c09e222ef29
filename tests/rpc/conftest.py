from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_model.rpc.controller import ControllerService
from csi_model.rpc.generated import csi_pb2, csi_pb2_grpc
from csi_model.rpc.identity import IdentityService
from csi_model.rpc.node import NodeService
from csi_model.rpc.server import build_server, channel_target
from tests.fakes.verbs import FakeNode, FakeVolumes

MOUNT = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(),
    access_mode=csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER),
)


class Refused(Exception):
    """What a client of the driver sees of an error."""

    def __init__(self, error: Any) -> None:
        super().__init__(f"{error.code()}: {error.details()}")
        self.code, self.text = error.code(), error.details()
        self.details = [value for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin"]


class Driver:
    """A driver on a real socket, and calls to it by RPC name."""

    def __init__(self, socket: Path, **services: Any) -> None:
        self.volumes, self.node, self.socket = FakeVolumes(), FakeNode(), socket
        everything = {
            "identity": IdentityService(),
            "controller": ControllerService(self.volumes),
            "node": NodeService(self.node, node_id="node-1"),
        }
        self.server = build_server(f"unix://{socket}", **{**everything, **services})
        self.server.start()
        self.channel = grpc.insecure_channel(channel_target(socket))

    def close(self) -> None:
        self.volumes.gate.open()
        self.node.gate.open()
        self.channel.close()
        self.server.stop(5)

    def method(self, name: str) -> Any:
        kinds = (csi_pb2_grpc.IdentityStub, csi_pb2_grpc.ControllerStub, csi_pb2_grpc.NodeStub)
        return next(getattr(stub, name) for stub in (kind(self.channel) for kind in kinds) if hasattr(stub, name))

    def call(self, name: str, /, timeout: float = 30, **fields: Any) -> Any:
        try:
            return self.method(name)(getattr(csi_pb2, f"{name}Request")(**fields), timeout=timeout)
        except grpc.RpcError as error:
            raise Refused(error) from None

    def future(self, name: str, /, **fields: Any) -> Any:
        """Begin a call that waits."""
        return self.method(name).future(getattr(csi_pb2, f"{name}Request")(**fields), timeout=60)

    def refusal(self, name: str, /, timeout: float = 30, **fields: Any) -> Refused:
        with pytest.raises(Refused) as caught:
            self.call(name, timeout, **fields)
        return caught.value

    def create(self, name: str = "pvc-1", **fields: Any) -> Any:
        return self.call("CreateVolume", **{"name": name, "volume_capabilities": [MOUNT], **fields}).volume

    def stage(self, volume_id: str = "m-1", **fields: Any) -> Any:
        asked = {"volume_id": volume_id, "staging_target_path": "/staging", "volume_capability": MOUNT}
        return self.call("NodeStageVolume", **{**asked, **fields})


@pytest.fixture
def make_driver(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    made: list[Driver] = []

    def make(**services: Any) -> Driver:
        made.append(Driver(tmp_path / f"csi-{len(made)}.sock", **services))
        return made[-1]

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def driver(make_driver: Callable[..., Driver]) -> Driver:
    return make_driver()
