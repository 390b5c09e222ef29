"""Steering when something fails, twice, or all at once."""

from functools import partial

import pytest

from csi_model.cluster.leader import Leader, Timing
from tests.cluster.steering.world import MODEL_NODES, NODES, VOLUMES, A, B, copy


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    hasty = partial(Leader, timing=Timing(lasts=1.0, deadline=0.7, retry=0.05))
    monkeypatch.setattr("csi_model.cluster.steering.steering.Leader", hasty)
    monkeypatch.setattr("csi_model.cluster.steering.writes._PAUSE", 0.01)
    monkeypatch.setattr("csi_model.cluster.steering.standings._SETTLING", 0.01)


def settled(world):
    world.until(lambda: world.labels("n1") == {"a": "staged"} and world.status("v").get("nodes") == "1/1")


@pytest.fixture
def staged(world):
    world.ready("n1")
    world.volume("v", A, replicas="1")
    world.until(lambda: "a" in world.wanted("n1"))
    world.says("n1", copy(A))


def changes(server):
    return [
        request
        for request in server.requests
        if request[0] in ("patch", "create", "delete") and "leases" not in request[1]
    ]


def test_nothing_is_written_again_while_nothing_changes(world, controller, server):
    one = controller(resync=0.01)
    world.ready("n1")
    world.volume("v", A, replicas="1", claim=None)
    world.until(lambda: "a" in world.wanted("n1"))
    world.says("n1", copy(A))
    settled(world)
    assert one._loop.writes.settle(10)
    before = len(changes(server))
    turns = []
    one._loop._decided = turns.append
    world.until_other(lambda: len(turns) > 20)
    assert len(changes(server)) == before


def test_one_of_two_controllers_writes(world, controller, server):
    first = controller("one")
    world.until_other(lambda: first.leading)
    second = controller("two")
    world.ready("n1")
    world.volume("v", A, replicas="1")
    world.until(lambda: "a" in world.wanted("n1"))
    world.says("n1", copy(A))
    settled(world)
    assert not second.leading
    assert second.figures().written == {}


def test_when_the_leader_ends_the_other_goes_on(world, controller):
    first = controller("one")
    world.until_other(lambda: first.leading)
    second = controller("two")
    world.ready("n1")
    first.stop(10)
    world.volume("v", A, replicas="1")
    world.until(lambda: "a" in world.wanted("n1"))
    assert second.leading
    assert not first.leading


def test_when_the_leader_dies_the_other_mends_what_happened_meanwhile(world, controller, server):
    first = controller("one")
    world.until_other(lambda: first.leading)
    second = controller("two")
    world.ready("n1", "n2")
    world.volume("v", A, replicas="1")
    world.until(lambda: len(world.holders(A)) == 1)
    first._leader._release = lambda: None  # as if it were killed
    first.stop(10)
    world.says("n1", copy(A))
    world.volume("w", B, replicas="2", claim="d")
    server.patch(f"{NODES}/n2", {"metadata": {"labels": {f"csi-model.io/m-{A[:40]}": "staged"}}})
    world.until(lambda: world.labels("n1") == {"a": "staged"} and world.labels("n2") == {})
    world.until(lambda: len(world.holders(B)) == 2)
    assert second.leading


def test_a_new_leader_keeps_the_choices_of_the_old_one(world, controller):
    first = controller("one")
    world.ready(*(f"n{number}" for number in range(6)))
    world.volume("v", A, replicas="3")
    world.until(lambda: len(world.holders(A)) == 3)
    before = world.holders(A)
    first.stop(10)
    controller("two")
    world.volume("w", B, replicas="1", claim="d")
    world.until(lambda: world.holders(B))
    assert world.holders(A) == before


def test_one_that_can_not_renew_stops_writing(world, controller, server):
    first = controller("one")
    world.ready("n1")
    server.denied = {("patch", "leases"), ("get", "leases")}
    world.until_other(lambda: not first.leading)
    world.volume("v", A)
    world.says("n1", copy(A))
    world.until_other(lambda: not first._loop._leads)
    assert world.labels("n1") == {}
    server.denied = set()
    world.until(lambda: world.labels("n1") == {"a": "staged"})


@pytest.mark.parametrize("failures", [[500] * 30, [-1] * 20, [429, 503] * 10, [409] * 5, [410] * 5])
def test_an_api_that_fails_for_a_while_delays_and_loses_nothing(world, controller, server, failures):
    controller(resync=0.2)
    world.ready("n1")
    server.failures = list(failures)
    world.volume("v", A, replicas="1")
    world.until(lambda: "a" in world.wanted("n1"))
    world.says("n1", copy(A))
    settled(world)


def test_a_right_that_is_missing_for_a_while_delays_one_thing_alone(world, controller, server):
    controller()
    server.denied = {("patch", "nodes")}
    world.ready("n1")
    world.volume("v", A, replicas="1")
    world.until(lambda: "a" in world.wanted("n1"))
    world.says("n1", copy(A))
    world.until(lambda: world.status("v").get("nodes") == "1/1")
    assert world.labels("n1") == {}
    server.denied = set()
    world.until(lambda: world.labels("n1") == {"a": "staged"})


def test_orders_that_somebody_edits_are_corrected(world, controller, server):
    controller()
    world.ready("n1")
    world.volume("v", A, replicas="1")
    world.until(lambda: "a" in world.wanted("n1"))
    server.patch(f"{MODEL_NODES}/n1", {"spec": {"wanted": []}})
    world.until(lambda: "a" in world.wanted("n1"))


def test_a_model_node_that_somebody_deletes_is_made_anew(world, controller, server):
    controller()
    world.ready("n1")
    world.volume("v", A, replicas="1")
    world.until(lambda: "a" in world.wanted("n1"))
    server.delete(f"{MODEL_NODES}/n1")
    world.says("n1", copy(A))
    settled(world)


def test_watches_that_break_and_expire_lose_nothing(world, controller, server):
    controller()
    world.ready("n1")
    server.objects.compact()
    server.drop()
    world.volume("v", A, replicas="1")
    world.until(lambda: "a" in world.wanted("n1"))
    server.end_watches()
    world.says("n1", copy(A))
    settled(world)


@pytest.mark.parametrize(
    "odd", [{}, {"spec": 7}, {"spec": {"revision": 7}}, {"spec": {"revision": "x" * 64, "bytes": -1}}]
)
def test_objects_that_make_no_sense_stop_nothing(world, controller, server, odd):
    controller()
    server.create(VOLUMES, {"metadata": {"name": "odd"}, **odd})
    server.create(NODES, {"metadata": {"name": "odd", "labels": 7, "annotations": []}, "spec": {"taints": 7}})
    server.create(MODEL_NODES, {"metadata": {"name": "odd"}, "spec": [], "status": 7})
    world.ready("n1")
    world.volume("v", A)
    world.says("n1", copy(A))
    world.until(lambda: world.labels("n1") == {"a": "staged"})


def test_many_nodes_get_what_they_shall_have(world, controller):
    controller()
    names = [f"n{number:03}" for number in range(60)]
    for number in range(5):
        world.volume(f"v{number}", f"{number}" * 64, replicas="all", claim=f"c{number}")
    world.ready(*names)
    world.until(lambda: all(len(world.wanted(name)) == 5 for name in names), timeout=60)
    for name in names:
        world.says(name, *(copy(f"{number}" * 64) for number in range(5)))
    world.until(lambda: all(len(world.labels(name)) == 5 for name in names), timeout=60)
    world.until(lambda: all(world.status(f"v{number}").get("nodes") == "60/60" for number in range(5)), timeout=60)
