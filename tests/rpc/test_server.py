import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi_model.errors import InvalidArgument, StoreLocked, StoreUnusable
from csi_model.rpc import sockets
from csi_model.rpc.generated import csi_pb2, csi_pb2_grpc
from csi_model.rpc.identity import IdentityService
from csi_model.rpc.server import Server, build_server, channel_target
from tests.rpc.conftest import MOUNT, Driver


@pytest.fixture
def made() -> Iterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.stop(0)


def serve(made: list[Server], endpoint: str) -> Server:
    server = build_server(endpoint, identity=IdentityService())
    made.append(server)
    server.start()
    return server


def probe(path: Path) -> bool:
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(channel_target(path), options) as channel:
        return csi_pb2_grpc.IdentityStub(channel).Probe(csi_pb2.ProbeRequest(), timeout=10).ready.value


@pytest.mark.parametrize("form", ["unix://{}", "unix:{}", "{}"])
def test_an_endpoint_is_written_in_three_ways(made: list[Server], tmp_path: Path, form: str) -> None:
    server = serve(made, form.format(tmp_path / "csi.sock"))
    assert server.path == tmp_path / "csi.sock"
    assert probe(server.path)


def test_a_relative_path_is_taken_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sockets.socket_path("unix:csi.sock") == tmp_path / "csi.sock"


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://127.0.0.1:10000",
        "127.0.0.1:10000",
        "dns:///x",
        "unix-abstract:x",
        "unix://csi.sock",
        "",
        "unix:",
        "http://x/y",
    ],
)
def test_what_is_no_unix_socket_is_refused(endpoint: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^endpoint: .*say unix:///"):
        sockets.socket_path(endpoint)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="missing is not a directory"):
        sockets.socket_path(str(tmp_path / "missing" / "csi.sock"))


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="longer than the 107 bytes"):
        sockets.socket_path(str(tmp_path / ("x" * 108)))


@pytest.mark.parametrize("name", ["a b", "50%25", "q?x#y", "ü"])
def test_odd_characters_in_a_path_are_taken_literally(made: list[Server], tmp_path: Path, name: str) -> None:
    server = serve(made, str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert probe(server.path)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_the_owner_may_connect_whatever_the_umask(made: list[Server], tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        server = serve(made, str(tmp_path / "csi.sock"))
        assert os.umask(umask) == umask, "the process's umask is as before"
    finally:
        os.umask(before)
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600


def test_a_socket_file_of_a_dead_process_is_replaced(made: list[Server], tmp_path: Path) -> None:
    path = tmp_path / "csi.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert probe(serve(made, str(path)).path)


def test_a_socket_on_which_somebody_listens_is_left_alone(made: list[Server], tmp_path: Path) -> None:
    path = serve(made, str(tmp_path / "csi.sock")).path
    with pytest.raises(StoreLocked, match="another process listens"):
        build_server(str(path), identity=IdentityService())
    assert probe(path)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "csi.sock"
    path.write_text("precious")
    with pytest.raises(InvalidArgument, match="not a socket"):
        build_server(str(path), identity=IdentityService())
    assert path.read_text() == "precious"


def test_a_directory_where_no_socket_can_be_made_is_unusable() -> None:
    with pytest.raises(StoreUnusable, match=r"can't listen on /proc/csi\.sock"):
        build_server("/proc/csi.sock", identity=IdentityService())


def test_nothing_but_the_socket_lies_beside_it_and_it_goes_at_the_end(made: list[Server], tmp_path: Path) -> None:
    server = serve(made, str(tmp_path / "csi.sock"))
    assert [path.name for path in tmp_path.iterdir()] == ["csi.sock"]
    server.stop(0)
    assert list(tmp_path.iterdir()) == []


def test_the_next_server_takes_the_place_at_once(made: list[Server], tmp_path: Path) -> None:
    for _ in range(3):
        server = serve(made, str(tmp_path / "csi.sock"))
        assert probe(server.path)
        server.stop(0)


def test_a_running_call_is_answered_before_the_end(driver: Driver) -> None:
    driver.node.gate.close()
    request = csi_pb2.NodeStageVolumeRequest(volume_id="m", staging_target_path="/s", volume_capability=MOUNT)
    call = driver.method("NodeStageVolume").future(request, timeout=60)
    driver.node.gate.wait_for(1)
    stopping = threading.Thread(target=driver.server.stop, args=(30,))
    stopping.start()
    while sockets.listens(driver.socket):  # until no new call is taken
        pass
    with pytest.raises(grpc.FutureTimeoutError):
        call.result(timeout=0.2)  # it isn't cancelled
    driver.node.gate.open()
    stopping.join()
    assert call.code() is grpc.StatusCode.OK


def test_what_is_made_for_the_owner_only_is_usable_by_the_owner(tmp_path: Path) -> None:
    with sockets.owner_only():
        (tmp_path / "d").mkdir()
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
