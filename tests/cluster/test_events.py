from datetime import UTC, datetime, timedelta

import pytest

from csi_model.cluster.events import Events, Subject
from csi_model.core.templates import OBJECT_NAME
from csi_model.core.volume import Claim

CLAIM = Claim("team", "qwen", "uid-1")
PATH = "/api/v1/namespaces/team/events"
START = datetime(2030, 1, 1, tzinfo=UTC)


class Time:
    def __init__(self):
        self.now = START

    def __call__(self):
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def events(api):
    events = Events(api, component="csi-model.io/node", host="node-1", now=Time())
    yield events
    events.close(30)


def said(events):
    assert events.flush(30)


def test_people_find_it_in_the_description_of_their_claim(server, events):
    events.say(CLAIM, warning=False, reason="Staged", message="16.4 GB in 12 s")
    said(events)
    (event,) = server.all(PATH)
    assert event["involvedObject"] == {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "team", "name": "qwen", "uid": "uid-1",
    }  # fmt: skip
    assert (event["type"], event["reason"], event["message"]) == ("Normal", "Staged", "16.4 GB in 12 s")
    assert event["source"] == {"component": "csi-model.io/node", "host": "node-1"}
    assert (event["count"], event["firstTimestamp"]) == (1, "2030-01-01T00:00:01Z")


def test_what_is_said_again_replaces_what_was_said_and_counts(server, events):
    for n in range(3):
        events.say(CLAIM, warning=n == 2, reason="Staging", message=f"{n} GB")
        said(events)
    (event,) = server.all(PATH)
    assert (event["message"], event["count"], event["type"]) == ("2 GB", 3, "Warning")
    assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2030-01-01T00:00:01Z", "2030-01-01T00:00:03Z")


def test_other_reasons_claims_and_nodes_have_their_own(server, api, events):
    elsewhere = Events(api, component="csi-model.io/node", host="node-2")
    for writer, claim, reason in [
        (events, CLAIM, "Staging"), (events, CLAIM, "Staged"), (elsewhere, CLAIM, "Staging"),
        (events, Claim("team", "other", "uid-2"), "Staging"), (events, Claim("team", "qwen", "uid-3"), "Staging"),
    ]:  # fmt: skip
        writer.say(claim, warning=False, reason=reason, message="x")
        said(writer)
    elsewhere.close(30)
    assert len(server.all(PATH)) == 5


def test_it_counts_on_after_a_restart(server, api, events):
    events.say(CLAIM, warning=False, reason="Staging", message="1 GB")
    said(events)
    again = Events(api, component="csi-model.io/node", host="node-1")
    for n in (2, 3):
        again.say(CLAIM, warning=False, reason="Staging", message=f"{n} GB")
        said(again)
    again.close(30)
    (event,) = server.all(PATH)
    assert event["message"] == "3 GB"
    assert event["count"] >= 2


def test_an_event_that_has_expired_is_made_anew(server, events):
    events.say(CLAIM, warning=False, reason="Staging", message="1 GB")
    said(events)
    server.delete(f"{PATH}/{server.all(PATH)[0]['metadata']['name']}")
    events.say(CLAIM, warning=False, reason="Staging", message="2 GB")
    said(events)
    assert [event["message"] for event in server.all(PATH)] == ["2 GB"]


def test_only_the_last_word_is_written(server, events):
    server.failures = []
    with server.objects.changed:  # holds the first request up
        for n in range(50):
            events.say(CLAIM, warning=False, reason="Staging", message=str(n))
    said(events)
    (event,) = server.all(PATH)
    assert event["message"] == "49"
    assert len(server.requests) < 10


def test_a_volume_without_a_claim_is_told_of_in_the_default_namespace(server, events):
    events.say_of(Subject("PersistentVolume", "", "pv-1", "u"), warning=True, reason="X", message="y")
    said(events)
    (event,) = server.all("/api/v1/namespaces/default/events")
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "PersistentVolume", "name": "pv-1", "uid": "u"}
    assert event["metadata"]["namespace"] == "default"


def test_a_long_message_and_a_long_name_fit(server, events):
    events.say(Claim("team", "x" * 253, None), warning=False, reason="X", message="y" * 5000)
    said(events)
    (event,) = server.all(PATH)
    assert len(event["message"]) == 1024
    assert len(event["metadata"]["name"]) <= 253


@pytest.mark.parametrize("claim", [Claim("..", "a"), Claim("a", "../b"), Claim("", ""), Claim("a\n", "b")])
def test_a_claim_that_cannot_be_is_not_told(server, events, claim):
    events.say(claim, warning=False, reason="X", message="y")
    said(events)
    assert [path for _, path in server.requests if not path.startswith("/api/v1/namespaces/default/")] == []


@pytest.mark.parametrize("failure", [-1, 500, 403, 429])
def test_what_cannot_be_said_is_dropped_and_said_once_in_the_log(server, events, caplog, failure):
    server.failures = [failure] * 2
    for n in range(2):
        events.say(CLAIM, warning=False, reason="Staging", message=str(n))
        said(events)
    assert server.all(PATH) == []
    assert [r.levelname for r in caplog.records if "dropped" in r.message and r.levelno >= 30] == ["WARNING"]
    events.say(CLAIM, warning=False, reason="Staging", message="2")
    said(events)
    assert [event["message"] for event in server.all(PATH)] == ["2"]


def test_what_waits_is_dropped_with_it_and_the_next_outage_is_said_again(server, events, caplog):
    for outage in (1, 2):
        server.failures = [500]
        with server.objects.changed:  # holds the first request up
            for name in "abc":
                events.say(Claim("team", name, None), warning=False, reason="X", message="y")
        said(events)
        assert len([r for r in caplog.records if r.levelname == "WARNING"]) == outage
        assert len(server.all(PATH)) < 3
        events.say(CLAIM, warning=False, reason="X", message="y")
        said(events)
        assert CLAIM.name in {event["involvedObject"]["name"] for event in server.all(PATH)}


def test_a_name_that_is_cut_is_still_a_name(server, events):
    events.say(Claim("team", "x" * 198 + "-.-" + "y" * 9, None), warning=False, reason="X", message="y")
    said(events)
    (event,) = server.all(PATH)
    assert OBJECT_NAME.match(event["metadata"]["name"])
    assert "-." not in event["metadata"]["name"]


@pytest.mark.parametrize("failure", [422, 403])
def test_an_event_that_the_api_refuses_does_not_cost_the_others(server, events, failure):
    server.failures = [failure]
    with server.objects.changed:
        events.say(Claim("team", "odd", None), warning=False, reason="X", message="y")
        events.say(CLAIM, warning=False, reason="X", message="y")
    said(events)
    assert [event["involvedObject"]["name"] for event in server.all(PATH)] == ["qwen"]


def test_after_the_end_nothing_is_said(server, events):
    events.close(30)
    events.say(CLAIM, warning=False, reason="X", message="y")
    assert server.requests == []


def test_what_waits_at_the_end_is_still_said(server, events):
    events.say(CLAIM, warning=False, reason="X", message="y")
    events.close(30)
    assert len(server.all(PATH)) == 1


def test_the_queue_has_a_bound(events, monkeypatch):
    monkeypatch.setattr("csi_model.cluster.events._QUEUE", 3)
    monkeypatch.setattr(events, "_write", lambda _: None)
    with events._changed:
        for n in range(10):
            events.say(Claim("team", f"c{n}", None), warning=False, reason="X", message="y")
        assert [subject.name for subject, _ in events._waiting] == ["c7", "c8", "c9"]
