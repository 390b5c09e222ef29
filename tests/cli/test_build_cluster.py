"""The way to the Kubernetes API, while it is looked for and once it is found."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_model.cli import build_cluster
from csi_model.cli.build_cluster import Cluster, ClusterEvents, ClusterRegistry
from csi_model.cluster.api import Api, connect
from csi_model.cluster.errors import ApiUnavailable
from csi_model.core.volume import Claim
from csi_model.errors import StoreUnusable
from tests.fakes.apiserver import ApiServer

PATIENCE = 30


@pytest.fixture
def find(tmp_path: Path):
    with ApiServer() as server:
        config = server.kubeconfig(tmp_path)
        found: list[Api] = []

        def find() -> Api:
            found.append(connect(config))
            return found[-1]

        find.server = server
        yield find
        for api in found:
            api.close()


def nowhere() -> Api:
    raise ApiUnavailable("no way is found")


def test_until_it_is_found_callers_are_told_to_come_again(find: Callable[[], Api]) -> None:
    cluster = Cluster(find, patience=0)
    with pytest.raises(StoreUnusable, match="still looking"):
        ClusterRegistry(cluster).get("m-1")
    assert "still looking" in str(cluster.problem())


def test_a_caller_waits_for_it_a_moment(find: Callable[[], Api]) -> None:
    cluster = Cluster(find, patience=PATIENCE)
    looking = threading.Thread(target=cluster.run)
    looking.start()
    assert ClusterRegistry(cluster).ids() == []
    looking.join()
    assert cluster.problem() is None


def test_it_is_looked_for_again_and_the_reason_is_told(
    find: Callable[[], Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_cluster, "_PAUSE", 0.01)
    problems: list[str | None] = []

    def third_time() -> Api:
        problems.append(cluster.problem())
        return find() if len(problems) == 3 else nowhere()

    cluster = Cluster(third_time)
    cluster.run()
    assert problems[1:] == ["no way is found"] * 2
    assert cluster.problem() is None


def test_what_waits_for_it_is_begun_before_anybody_gets_it(find: Callable[[], Api]) -> None:
    cluster = Cluster(find)
    begun: list[tuple[Api, str | None]] = []
    cluster.then(lambda api: begun.append((api, "found" if cluster._api else "not yet")))
    cluster.run()
    assert begun == [(cluster.api(), "not yet")]


def test_at_the_end_nobody_looks_or_waits_any_longer() -> None:
    cluster = Cluster(nowhere, patience=1000)
    looking = threading.Thread(target=cluster.run)
    looking.start()
    cluster.close()
    looking.join()
    with pytest.raises(ApiUnavailable, match="no way is found"):
        cluster.api()


def test_events_are_dropped_before_and_written_afterwards(find: Callable[[], Api]) -> None:
    cluster = Cluster(find)
    events = ClusterEvents(cluster, component="csi-model.io/node", host="node-1")
    events.say(Claim("team", "qwen"), warning=False, reason="Early", message="too early")
    cluster.run()
    events.say(Claim("team", "qwen"), warning=False, reason="Staged", message="it is here")
    server = find.server
    with server.objects.changed:
        path = "/api/v1/namespaces/team/events"
        assert server.objects.changed.wait_for(lambda: server.all(path), PATIENCE)
    events.close()
    assert [event["reason"] for event in server.all(path)] == ["Staged"]
