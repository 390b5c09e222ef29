"""What a controller does when it begins to lead, and what it doesn't trust then."""

import pytest

from csi_model.cluster.facts import Guarded
from csi_model.cluster.steering import choices
from csi_model.cluster.steering.inbox import Kind
from csi_model.core.copies import Guard, Wanted
from tests.cluster.steering.offline import Offline
from tests.cluster.steering.places import A, B, copy

NODE = "/api/v1/nodes/n1"
ORDERS = "/apis/csi-model.io/v1alpha1/modelnodes/n1"


@pytest.fixture
def offline():
    return Offline(evict_grace=30)


def orders(offline):
    return [body["spec"] for path, body in offline.written if path == ORDERS]


def states(offline):
    return [[each["state"] for each in spec["guarded"]] for spec in orders(offline)]


def leaving(offline, since):
    guarded = {A: Guarded(Guard.WITHDRAWN, since)}
    offline.volume(A, placement="require")
    offline.node("n2", copy(A))
    offline.node("n1")
    offline.says("n1", copy(A, leaving=True), guarded=guarded)


def test_a_grace_begins_anew_since_no_two_clocks_are_compared(offline):
    for_ages = 1.0
    leaving(offline, since=for_ages)
    offline.pass_by(29)
    assert not any("Released" in each for each in states(offline))
    offline.pass_by(2)
    assert states(offline)[-1] == ["Released"]


def test_a_grace_of_a_clock_that_is_ahead_begins_anew_too(offline):
    leaving(offline, since=4e9)
    offline.pass_by(29)
    assert not any("Released" in each for each in states(offline))
    offline.pass_by(2)
    assert states(offline)[-1] == ["Released"]


def test_an_api_that_was_away_for_long_moves_nothing(offline):
    offline.volume(A, 1)
    offline.node("n2", copy(A))
    offline.node("n1")
    offline.pass_by(2)
    before = len(offline.written)
    offline.leading = offline.answers = False
    offline.pass_by(130)
    offline.leading = offline.answers = True
    offline.pass_by(10)
    assert {"csi-model.io/m-" + A[:40]: None} not in [
        body["metadata"]["labels"] for path, body in offline.written[before:] if path.startswith("/api/v1/nodes")
    ]
    assert offline.loop.choices.made[A].wanted.keys() == {"n2"}


def test_of_a_volume_that_is_gone_nothing_is_kept(offline):
    offline.volume(A, 1)
    offline.node("n1", copy(A))
    offline.pass_by(2)
    offline.inbox.put(Kind.VOLUMES, ("", "m-1"), None)
    offline.pass_by(8)
    assert offline.loop._standings._told == {}
    assert [target for target in offline.loop._asked._asks if target[0] == "status"] == []


def test_what_others_ordered_stays_until_it_is_decided_otherwise(offline):
    offline.volume(A, 1)
    offline.node("n2")
    offline.node("n1")
    offline.says("n1", wanted=(Wanted(A, "m-1"),))
    offline.pass_by(2)
    assert orders(offline) == []
    assert offline.loop.choices.made[A].wanted.keys() == {"n1"}


def test_what_others_ordered_for_a_volume_that_is_gone_is_taken_back(offline):
    offline.node("n1")
    offline.says("n1", wanted=(Wanted(B, "m-2"),))
    offline.pass_by(2)
    assert orders(offline)[-1]["wanted"] == []


def test_one_that_does_not_lead_writes_nothing_and_forgets_what_it_decided(offline):
    offline.volume(A, 1)
    offline.node("n1")
    offline.leading = False
    offline.pass_by(3)
    assert offline.written == []
    offline.leading = True
    offline.pass_by(1)
    assert orders(offline)
    offline.leading = False
    offline.pass_by(1)
    assert offline.loop.choices.made == {}
    assert not offline.loop.figures().leads


def test_nothing_is_decided_before_everything_is_known(offline):
    offline.inbox.take()
    offline.volume(A, 1)
    offline.node("n1")
    offline.pass_by(3)
    assert offline.written == []


def test_one_thing_that_can_not_be_decided_harms_no_other(offline, monkeypatch, caplog):
    choose = choices.choose

    def broken(demand, *others):
        if demand.revision == A:
            raise RuntimeError("a bug")
        return choose(demand, *others)

    monkeypatch.setattr(choices, "choose", broken)
    offline.volume(A, 1)
    offline.volume(B, 1, name="m-2", claim="d")
    offline.node("n1")
    offline.pass_by(2)
    assert [each["revision"] for each in orders(offline)[-1]["wanted"]] == [B]
    assert "a bug" in caplog.text


def test_figures_count_what_is_wanted_and_staged(offline):
    offline.volume(A, 2)
    offline.node("n1", copy(A))
    offline.pass_by(2)
    figures = offline.loop.figures()
    assert (figures.leads, figures.wanted, figures.staged, figures.lacking) == (True, 1, 1, 1)
