"""The conversation of a node with the cluster, over its ModelNode."""

import threading
from contextlib import suppress

import pytest

from csi_model.cluster import reporter as reporting
from csi_model.cluster.facts import Guarded
from csi_model.cluster.model_node import PATH, parse_report, render, render_spec
from csi_model.cluster.reporter import Reporter
from csi_model.core.copies import Copy, Guard, NodeReport, Orders, Wanted
from csi_model.core.warmth import Warmth
from csi_model.errors import StoreUnusable

A, B = "a" * 64, "b" * 64
STAGED = NodeReport(total=100, used=50, copies=(Copy(A, Warmth.STAGED, 7, present=7),))
ORDERS = Orders((Wanted(B, "m-1"),), {A: Guard.KEEP})
LONG = 3600.0


class Agent:
    """A node's agent: says what it is told to say, and remembers its orders."""

    def __init__(self):
        self.report, self.failure = STAGED, None
        self.orders = []
        self.heard = threading.Condition()
        self.said = threading.Event()

    def say(self):
        self.said.set()
        if self.failure:
            raise self.failure
        return self.report

    def obey(self, orders):
        with self.heard:
            self.orders.append(orders)
            self.heard.notify_all()

    def wait_for(self, orders):
        with self.heard:
            assert self.heard.wait_for(lambda: self.orders[-1:] == [orders], timeout=10)


@pytest.fixture
def agent():
    return Agent()


@pytest.fixture
def begin(api, agent, monkeypatch):
    monkeypatch.setattr("csi_model.cluster.reporter._PAUSE", 0.01)
    monkeypatch.setattr("csi_model.cluster.watching._PAUSE", 0.01)
    begun = []

    def begin(heartbeat=LONG):
        reporter = Reporter(
            api, "node-1", report=agent.say, obey=agent.obey, heartbeat=heartbeat, version="0.1.0"
        )  # fmt: skip
        begun.append(reporter)
        reporter.start()
        return reporter

    yield begin
    for reporter in begun:
        reporter.close()


@pytest.fixture
def made(server):
    return server.create(PATH, render("node-1", "uid-of-node"))


@pytest.fixture
def reporter(server, begin, made):
    """One that has spoken once."""
    begun = begin()
    status_when(server, says(STAGED))
    return begun


def status_when(server, is_right, *, timeout=10):
    """Wait until the object's status is as wanted; return it."""
    with server.objects.changed:
        assert server.objects.changed.wait_for(lambda: is_right(status_of(server)), timeout), status_of(server)
        return status_of(server)


def status_of(server):
    with suppress(IndexError):
        return server.all(PATH)[0].get("status") or {}
    return {}


def patches(server):
    return server.requests.count(("patch", f"{PATH}/node-1/status"))


def says(report):
    return lambda status: parse_report({"status": status}) == report


def ready(status):
    return [it["status"] for it in status.get("conditions", [])]


def test_it_says_what_is_here_as_soon_as_it_has_an_object(server, begin, made):
    begin()
    status = status_when(server, says(STAGED))
    assert (status["version"], status["observedGeneration"], ready(status)) == ("0.1.0", 1, ["True"])


def test_a_status_that_somebody_edited_is_written_anew_in_time(server, api, begin, made, monkeypatch):
    monkeypatch.setattr("csi_model.cluster.reporter._WHOLE", 0.0)
    reporter = begin()
    status_when(server, says(STAGED))
    api.merge_patch(f"{PATH}/node-1/status", {"status": {"copies": []}})
    assert says(NodeReport(total=100, used=50))(status_of(server))
    reporter.look()
    status_when(server, says(STAGED))


def test_an_object_that_comes_later_is_written_when_it_comes(server, begin, agent):
    begin()
    server.wait_for_watch("modelnodes")
    assert (agent.orders, patches(server)) == ([], 0)
    server.create(PATH, render("node-1", "uid-of-node"))
    status_when(server, says(STAGED))


def test_the_orders_reach_the_agent_and_are_acknowledged(server, reporter, agent):
    spec = render_spec(ORDERS.wanted, {A: Guarded(Guard.KEEP, 5.0)})
    server.patch(f"{PATH}/node-1", {"spec": spec})
    agent.wait_for(ORDERS)
    status_when(server, lambda status: status.get("observedGeneration") == 2)


def test_its_own_writes_and_other_peoples_are_no_orders(server, reporter, agent):
    agent.report = NodeReport(total=200)
    reporter.look()
    status_when(server, says(NodeReport(total=200)))
    server.patch(f"{PATH}/node-1", {"spec": render_spec(ORDERS.wanted, {A: Guarded(Guard.KEEP, 5.0)})})
    agent.wait_for(ORDERS)
    assert agent.orders == [Orders(), ORDERS]


def test_other_nodes_objects_are_nothing_to_it(server, begin, agent, made):
    server.create(PATH, {**render("node-2", "u"), "spec": render_spec(ORDERS.wanted, {})})
    reporter = begin()
    status_when(server, says(STAGED))
    server.create(PATH, {**render("node-0", "u"), "spec": render_spec(ORDERS.wanted, {})})
    server.delete(f"{PATH}/node-0")
    reporter.changed(("", "node-2"), None)  # should the API tell
    agent.report = NodeReport(total=1)
    reporter.look()
    status_when(server, says(NodeReport(total=1)))
    assert agent.orders == [Orders()]
    assert "status" not in server.all(PATH)[1]


def test_news_are_told_at_once(server, reporter, agent):
    agent.report = NodeReport(total=100, used=1)
    reporter.look()
    status_when(server, says(agent.report))


def test_news_that_come_together_are_one_write(server, reporter, agent, monkeypatch):
    monkeypatch.setattr(reporting, "COALESCE", 0.5)
    for used in range(20):
        agent.report = NodeReport(total=100, used=used)
        reporter.look()
        reporter._api.get(PATH + "/node-1")  # long enough for a hasty reporter to write
    status_when(server, says(agent.report))
    assert patches(server) == 2


def test_no_news_are_not_written(server, reporter, agent):
    before = patches(server)
    agent.said.clear()
    reporter.look()
    assert agent.said.wait(10)
    reporter.close()
    assert patches(server) == before + 1  # its last words


def test_only_what_differs_is_written(server, reporter, agent, api, monkeypatch):
    bodies = []
    patch = api.merge_patch
    monkeypatch.setattr(
        api, "merge_patch", lambda path, body, **how: (bodies.append(body), patch(path, body, **how))[1]
    )
    agent.report = NodeReport(total=100, used=60, copies=STAGED.copies)
    reporter.look()
    status_when(server, says(agent.report))
    assert sorted(bodies[-1]["status"]) == ["heartbeat", "store", "used"]


def test_it_gives_signs_of_life_though_nothing_changes(server, begin, made):
    begin(heartbeat=0.01)
    first = status_when(server, says(STAGED))["heartbeat"]
    status_when(server, lambda status: status["heartbeat"] > first)


def test_progress_is_told_again_and_again_without_news(server, begin, agent, made, monkeypatch):
    monkeypatch.setattr(reporting, "PROGRESS", 0.01)
    agent.report = NodeReport(copies=(Copy(B, Warmth.WARMING, 100, present=1),))
    begin()
    status_when(server, says(agent.report))
    agent.report = NodeReport(copies=(Copy(B, Warmth.WARMING, 100, present=50),))
    assert status_when(server, says(agent.report))["warming"] == "1 (50 %)"


@pytest.mark.parametrize("failure", [500, 429, 409, -1])
def test_what_could_not_be_told_is_told_later(server, reporter, agent, failure):
    agent.report = NodeReport(total=1)
    server.failures += 3 * [failure]
    reporter.look()
    status_when(server, says(NodeReport(total=1)))


def test_a_write_whose_answer_was_lost_is_not_believed(server, reporter, agent, api, monkeypatch):
    patch, lost = api.merge_patch, []

    def losing(path, body, **how):
        patch(path, body, **how)
        if not lost:
            lost.append(body)
            agent.report = STAGED  # as it was before
            raise StoreUnusable("no answer")

    monkeypatch.setattr(api, "merge_patch", losing)
    agent.report = NodeReport(total=1)
    reporter.look()
    status_when(server, lambda status: lost and says(STAGED)(status))


def test_an_api_that_is_down_holds_nobody_up(server, reporter, agent):
    server.denied.add(("patch", "modelnodes"))
    agent.report = NodeReport(total=1)
    for _ in range(1000):
        reporter.look()
    server.denied.clear()
    status_when(server, says(NodeReport(total=1)))


def test_when_the_api_answers_again_it_waits_no_longer(server, reporter, agent, api, monkeypatch):
    for name in ("_PAUSE", "_MAX_PAUSE"):
        monkeypatch.setattr(reporting, name, LONG)
    patch, failed = api.merge_patch, threading.Event()

    def failing_once(path, body, **how):
        if not failed.is_set():
            failed.set()
            raise StoreUnusable("no answer")
        patch(path, body, **how)

    monkeypatch.setattr(api, "merge_patch", failing_once)
    agent.report = NodeReport(total=1)
    reporter.look()
    assert failed.wait(10)
    server.objects.compact()
    server.end_watches()
    status_when(server, says(NodeReport(total=1)))


def test_a_new_object_of_the_same_name_gets_everything(server, begin, agent, made):
    begin()
    status_when(server, says(STAGED))
    server.delete(f"{PATH}/node-1")
    server.create(PATH, render("node-1", "another"))
    assert status_when(server, says(STAGED))["version"] == "0.1.0"


def test_nothing_is_written_while_the_object_is_gone(server, reporter, agent):
    server.delete(f"{PATH}/node-1")
    agent.report = NodeReport(total=1)
    reporter.look()
    server.create(PATH, render("node-1", "another"))
    status_when(server, says(NodeReport(total=1)))


def test_a_store_that_cannot_be_read_has_nothing_and_is_not_ready(server, reporter, agent):
    agent.failure = StoreUnusable("reading the store failed: Input/output error")
    reporter.look()
    status = status_when(server, lambda status: ready(status) == ["False"])
    assert (status["copies"], status["conditions"][0]["reason"]) == ([], "StoreUnusable")
    agent.failure = None
    reporter.look()
    status_when(server, lambda status: ready(status) == ["True"] and says(STAGED)(status))


def test_the_last_word_is_that_it_ends(server, reporter):
    reporter.close()
    [condition] = status_of(server)["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "Stopping")
    assert says(STAGED)(status_of(server))


def test_it_ends_also_if_it_never_had_an_object(server, begin):
    reporter = begin()
    server.wait_for_watch("modelnodes")
    reporter.close()
    assert patches(server) == 0


def test_a_hostile_object_gives_no_orders(server, begin, agent, made):
    server.patch(f"{PATH}/node-1", {"spec": {"wanted": [7, {"revision": "../.."}], "guarded": "no"}})
    begin()
    agent.wait_for(Orders())
