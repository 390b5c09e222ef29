"""How far a volume is, for everybody who looks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.cluster.steering.demand import Waiting
from csi_model.cluster.steering.standing import standing, waiting_words
from csi_model.cluster.steering.wanting import Choice
from csi_model.core.copies import Wanted
from csi_model.core.warmth import Warmth
from tests.cluster.steering.places import GB, A, B, cluster, copy, node, pod, volume, warming

NOW, EARLIER = "2026-01-01T00:00:10Z", "2026-01-01T00:00:00Z"


def choice(*names, replicas=None, lacking=""):
    return Choice({name: Wanted(A, "m-1") for name in names}, replicas or len(names), lacking)


def status(chosen, copies, previous=None):
    return standing(volume(generation=7), chosen, copies).status(previous or {}, NOW)


def condition(status, kind):
    return next(each for each in status["conditions"] if each["type"] == kind)


def test_the_status_of_a_volume_that_is_on_its_way():
    copies = {"n1": copy(A), "n2": warming(A, rate=1.1 * GB), "n3": warming(A, present=9 * GB, rate=GB)}
    found = status(choice("n1", "n2", "n3"), copies)
    conditions = found.pop("conditions")
    assert found == {
        "observedGeneration": 7, "wanted": 3, "staged": 1, "staging": 2, "nodes": "1/3", "stagedOn": ["n1"],
        "progress": "50 %, 1.10 GB/s, 4.5 s left", "bytesPerSecond": 2_100_000_000, "secondsLeft": 5,
    }  # fmt: skip
    assert conditions == [
        {"type": "Placed", "status": "True", "observedGeneration": 7, "lastTransitionTime": NOW,
         "reason": "Placed", "message": "wanted on 3 nodes"},
        {"type": "Staged", "status": "False", "observedGeneration": 7, "lastTransitionTime": NOW,
         "reason": "Staging", "message": "staged on 1 of 3 nodes, being staged on 2"},
    ]  # fmt: skip


def test_the_slowest_of_the_wanted_nodes_tells_the_progress():
    copies = {"n1": warming(A, present=GB, rate=GB), "n2": warming(A, present=9 * GB), "n3": warming(A, present=0)}
    assert status(choice("n1", "n2"), copies)["progress"] == "90 %"
    assert "secondsLeft" not in status(choice("n1", "n2"), copies)


def test_what_is_brought_elsewhere_does_not_hold_up_the_wanted_ones():
    copies = {"n1": warming(A, present=9 * GB, rate=GB), "n2": warming(A, present=0, rate=1)}
    assert status(choice("n1"), copies)["secondsLeft"] == 1


def test_a_volume_that_is_only_brought_for_a_pod_tells_of_that():
    found = status(choice(), {"n1": warming(A, rate=GB)})
    assert (found["nodes"], found["progress"]) == ("0", "50 %, 1.00 GB/s, 5.0 s left")


def test_copies_where_they_are_not_wanted_make_no_volume_staged():
    found = status(choice("n2"), {"n1": copy(A)})
    assert (found["nodes"], condition(found, "Staged")["status"]) == ("0/1", "False")


@pytest.mark.parametrize(
    ("chosen", "copies", "reason", "verdict"),
    [
        (choice(), {}, "NothingWanted", "False"),
        (choice(), {"n1": copy(A)}, "Staged", "True"),
        (choice(), {"n1": warming(A)}, "Staging", "False"),
        (choice("n1"), {"n1": copy(A)}, "Staged", "True"),
        (choice("n1"), {}, "Staging", "False"),
        (choice("n1"), {"n1": copy(A, Warmth.COLD, error="403")}, "Failing", "False"),
        (choice("n1", replicas=2, lacking="no room"), {"n1": copy(A)}, "Staging", "False"),
        (choice(replicas=2, lacking="no room"), {}, "NotEnoughNodes", "False"),
    ],
)
def test_whether_it_is_staged(chosen, copies, reason, verdict):
    found = condition(status(chosen, copies), "Staged")
    assert (found["reason"], found["status"]) == (reason, verdict)


def test_a_failure_is_told_with_its_node():
    message = condition(status(choice("n1"), {"n1": copy(A, Warmth.COLD, error="403 Forbidden")}), "Staged")["message"]
    assert message == "staged on 0 of 1 node; on n1: 403 Forbidden"


def test_what_is_lacking_is_told():
    found = condition(status(choice("n1", replicas=2, lacking="no room"), {}), "Placed")
    assert (found["status"], found["reason"], found["message"]) == ("False", "NotEnoughNodes", "no room")


def test_a_condition_keeps_its_time_while_its_status_stays():
    previous = status(choice("n1"), {})
    for each in previous["conditions"]:
        each["lastTransitionTime"] = EARLIER
    found = status(choice("n1"), {"n1": copy(A)}, previous)
    assert condition(found, "Placed")["lastTransitionTime"] == EARLIER
    assert condition(found, "Staged")["lastTransitionTime"] == NOW


JSON = st.recursive(
    st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
HOSTILE = st.fixed_dictionaries(
    {
        "conditions": JSON
        | st.lists(
            st.fixed_dictionaries(
                {"type": st.just("Placed") | JSON, "status": st.just("True") | JSON, "lastTransitionTime": JSON}
            )
        )
    }
)


@given(HOSTILE)
def test_a_previous_status_may_be_anything(previous):
    found = status(choice("n1"), {}, previous)
    assert all(isinstance(each["lastTransitionTime"], str) for each in found["conditions"])
    assert status(choice("n1"), {}, json.loads(json.dumps(found))) == found


def test_no_more_than_ten_nodes_are_named():
    names = [f"n{number:02}" for number in range(20)]
    found = status(choice(*names), dict.fromkeys(names, copy(A)))
    assert (found["staged"], found["stagedOn"]) == (20, names[:10])


@pytest.mark.parametrize(
    ("chosen", "copies", "words"),
    [
        (choice("n1", "n2", "n3"), {"n1": copy(A), "n2": copy(A)}, "staged on 2 of 3 nodes"),
        (choice(), {"n1": copy(A)}, "staged on 1 node"),
        (choice(), {}, "staged on no node"),
        (choice("n1", replicas=2, lacking="no room"), {"n1": copy(A)}, "staged on 1 of 2 nodes; no room"),
    ],
)
def test_the_note_on_the_claim(chosen, copies, words):
    assert standing(volume(), chosen, copies).annotation() == words


SOURCES = {A: "s3://m/a", B: "s3://m/b"}


class TestWordsForPods:
    """What a pod that waits is told."""

    def words(self, *nodes, revisions=(A,), choices=None, **of_pod):
        return waiting_words(Waiting(pod(**of_pod), revisions), cluster(*nodes), SOURCES, choices or {})

    def test_how_far_it_is_and_where(self):
        words = self.words(node("n1", warming(A, rate=GB), wanted=[A]), node("n2"))
        assert words == (
            "waits for node n1: s3://m/a is being staged there: 5.00 GB of 10.0 GB, 1.00 GB/s, about 5.0 s left"
        )

    def test_that_it_is_about_to_begin_or_could_not(self):
        assert self.words(node("n1", wanted=[A])) == "waits for node n1: s3://m/a is about to be staged there"
        failed = node("n1", copy(A, Warmth.COLD, error="403"), wanted=[A])
        assert self.words(failed) == "waits for node n1: s3://m/a couldn't be staged there yet: 403"

    def test_that_nothing_but_the_scheduler_is_in_the_way(self):
        assert self.words(node("n1", A)).startswith("node n1 has all its models")

    def test_models_that_are_staged_on_different_nodes(self):
        words = self.words(node("n1", A, wanted=[A]), node("n2", B, wanted=[A, B]), revisions=(A, B))
        assert words == (
            "waits for node n2: s3://m/a is about to be staged there (it is staged on n1, but this pod can't use that, "
            "or needs more than that); s3://m/b is staged there"
        )

    def test_why_no_node_could_be_found(self):
        words = self.words(node("n1"), choices={A: Choice({}, 1, "no node has room")})
        assert words == "no node has room"

    def test_a_node_that_the_pod_cannot_use_is_none(self):
        assert "being chosen" in self.words(node("n1", A), selector={"gpu": "yes"})
