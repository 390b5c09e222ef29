"""Which nodes a pod could use."""

import pytest

from csi_model.cluster.facts import Requirement, Taint, Toleration
from csi_model.cluster.steering.fitting import named, room, usable
from tests.cluster.steering.places import GB, SIZES, A, B, C, copy, node, pod, warming

TAINT = Taint("gpu", "yes", "NoSchedule")


def affinity(*terms):
    return {
        "affinity": tuple(tuple(Requirement(key, how, tuple(values)) for key, how, values in term) for term in terms)
    }


def test_an_ordinary_pod_can_use_an_ordinary_node():
    assert usable(pod(), node("n1"))


def test_a_cordoned_node_is_for_those_alone_that_tolerate_it():
    cordoned = node("n1", schedulable=False, taints=(Taint("node.kubernetes.io/unschedulable", "", "NoSchedule"),))
    assert not usable(pod(), cordoned)
    assert usable(pod(tolerations=(Toleration("node.kubernetes.io/unschedulable", exists=True),)), cordoned)


@pytest.mark.parametrize(
    ("toleration", "tolerates"),
    [
        (Toleration("gpu", value="yes", effect="NoSchedule"), True),
        (Toleration("gpu", value="yes"), True),
        (Toleration("gpu", exists=True), True),
        (Toleration(exists=True), True),
        (Toleration("gpu", value="no"), False),
        (Toleration("cpu", exists=True), False),
        (Toleration("gpu", exists=True, effect="NoExecute"), False),
        (Toleration(), False),
    ],
)
def test_a_taint_keeps_pods_away_that_do_not_tolerate_it(toleration, tolerates):
    assert usable(pod(tolerations=(toleration,)), node("n1", taints=(TAINT,))) is tolerates


@pytest.mark.parametrize(("effect", "keeps"), [("NoSchedule", True), ("NoExecute", True), ("PreferNoSchedule", False)])
def test_only_hard_taints_keep_pods_away(effect, keeps):
    assert usable(pod(), node("n1", taints=(Taint("x", "", effect),))) is not keeps


def test_a_selector_has_to_hold_entirely():
    assert usable(pod(selector={"a": "1", "b": "2"}), node("n1", labels={"a": "1", "b": "2", "c": "3"}))
    assert not usable(pod(selector={"a": "1", "b": "2"}), node("n1", labels={"a": "1"}))


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        (("zone", "In", ["a", "b"]), True),
        (("zone", "In", ["b"]), False),
        (("none", "In", ["a"]), False),
        (("zone", "NotIn", ["b"]), True),
        (("zone", "NotIn", ["a"]), False),
        (("none", "NotIn", ["a"]), True),
        (("zone", "Exists", []), True),
        (("none", "Exists", []), False),
        (("none", "DoesNotExist", []), True),
        (("zone", "DoesNotExist", []), False),
        (("gpus", "Gt", ["7"]), True),
        (("gpus", "Gt", ["8"]), False),
        (("gpus", "Lt", ["9"]), True),
        (("zone", "Gt", ["1"]), False),
        (("none", "Lt", ["1"]), False),
        (("gpus", "Gt", []), False),
        (("metadata.name", "In", ["n1"]), True),
        (("metadata.name", "NotIn", ["n1"]), False),
        (("zone", "Nonsense", ["a"]), False),
    ],
)
def test_each_operator_of_an_affinity(requirement, holds):
    assert usable(pod(**affinity([requirement])), node("n1", labels={"zone": "a", "gpus": "8"})) is holds


def test_one_term_of_an_affinity_has_to_hold_with_all_its_requirements():
    here = node("n1", labels={"a": "1"})
    assert usable(pod(**affinity([("b", "Exists", [])], [("a", "Exists", [])])), here)
    assert not usable(pod(**affinity([("b", "Exists", []), ("a", "Exists", [])])), here)


def test_an_empty_term_matches_nothing():
    assert not usable(pod(affinity=((),)), node("n1"))


@pytest.mark.parametrize(
    ("terms", "names"),
    [
        ([], None),
        ([[("metadata.name", "In", ["n1"])]], {"n1"}),
        ([[("metadata.name", "In", ["n1"])], [("metadata.name", "In", ["n2"]), ("a", "Exists", [])]], {"n1", "n2"}),
        ([[("metadata.name", "In", ["n1"])], [("a", "Exists", [])]], None),
        ([[("metadata.name", "NotIn", ["n1"])]], None),
        ([[("metadata.name", "In", ["n1", "n2"]), ("metadata.name", "In", ["n2"])]], {"n2"}),
    ],
)
def test_a_pod_may_name_its_nodes(terms, names):
    assert named(pod(**affinity(*terms))) == names


class TestRoom:
    """Available and evictable, less what is wanted and hasn't begun."""

    def test_nothing_else_is_wanted(self):
        assert room(node("n1", available=3 * GB, evictable=4 * GB), SIZES, without=A) == 7 * GB

    def test_the_revision_itself_takes_none(self):
        assert room(node("n1", available=3 * GB, wanted=[A]), SIZES, without=A) == 3 * GB

    def test_another_one_that_has_not_begun_takes_its_size(self):
        assert room(node("n1", available=30 * GB, wanted=[B]), SIZES, without=A) == 10 * GB

    def test_and_less_if_some_of_it_is_there(self):
        here = node("n1", copy(B, warming(B).warmth.COLD, 5 * GB), available=30 * GB, wanted=[B])
        assert room(here, SIZES, without=A) == 15 * GB

    def test_another_one_that_has_begun_took_it_already(self):
        assert room(node("n1", warming(B), available=30 * GB, wanted=[B]), SIZES, without=A) == 30 * GB

    def test_of_those_that_are_wanted_each_sees_the_ones_before_it(self):
        here = node("n1", available=100 * GB, wanted=[A, B, C])
        assert [room(here, SIZES, without=each) // GB for each in (A, B, C)] == [100, 90, 70]

    def test_a_node_that_never_spoke_has_none(self):
        assert room(node("n1").__class__("n1"), SIZES, without=A) == 0
