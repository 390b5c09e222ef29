import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_model.errors import CsiModelError, InProgress, InvalidArgument
from csi_model.rpc.admin import AdminClient, NoAgent, build_admin_server
from csi_model.rpc.server import Server
from tests.fakes.verbs import FakeKeeper


@pytest.fixture
def keeper() -> FakeKeeper:
    return FakeKeeper()


@pytest.fixture
def agent(tmp_path: Path, keeper: FakeKeeper) -> Iterator[Server]:
    server = build_admin_server(tmp_path / "admin.sock", keeper)
    server.start()
    yield server
    server.stop(5)


@pytest.fixture
def client(agent: Server) -> Iterator[AdminClient]:
    with AdminClient(agent.path) as client:
        yield client


def test_status_comes_back_as_it_was_said(client: AdminClient, keeper: FakeKeeper) -> None:
    assert client.status() == keeper.status()


def test_events_of_verify_come_one_by_one(client: AdminClient) -> None:
    assert [event["tree"] for event in client.verify(None)] == ["aa", "bb"]
    assert [event["tree"] for event in client.verify("bb")] == ["bb"]


def test_evict_passes_its_arguments(client: AdminClient, keeper: FakeKeeper) -> None:
    assert client.evict("aa", dry_run=True) == {"freed": 7}
    assert keeper.evicted == [("aa", True)]


def test_an_error_arrives_with_its_type_and_text(client: AdminClient) -> None:
    with pytest.raises(InvalidArgument, match=r"^target: 'zz' is not in this store$"):
        client.evict("zz", dry_run=False)


def test_an_error_in_the_middle_of_a_stream_arrives_after_the_events(client: AdminClient) -> None:
    events = client.verify("busy")
    assert next(events)["tree"] == "busy"
    with pytest.raises(InProgress, match="it is being staged"):
        next(events)


def test_a_bug_in_the_agent_is_told_as_one(client: AdminClient, keeper: FakeKeeper) -> None:
    keeper.fail_with = KeyError("trees")
    with pytest.raises(CsiModelError, match=r"bug in csi-model \(KeyError\)"):
        client.status()


@pytest.mark.parametrize("left_over", [True, False])
def test_nobody_listening_is_an_error_of_its_own(tmp_path: Path, agent: Server, left_over: bool) -> None:
    agent.stop(0)
    path = agent.path
    if left_over:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    with pytest.raises(NoAgent, match="no agent listens"), AdminClient(path):
        pass


def test_an_agent_that_ends_during_a_call_is_told(agent: Server, client: AdminClient) -> None:
    client.status()
    agent.stop(0)
    with pytest.raises(NoAgent, match="ended"):
        client.status()


def test_only_the_owner_may_connect(agent: Server) -> None:
    assert stat.S_IMODE(agent.path.stat().st_mode) == 0o600
