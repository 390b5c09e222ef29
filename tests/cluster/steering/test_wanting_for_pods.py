"""Which nodes shall have a Revision for the pods that wait: each finds one that it can use, with all its models."""

import pytest

from csi_model.cluster.facts import Requirement
from csi_model.cluster.steering.demand import Waiting
from csi_model.cluster.steering.wanting import choose
from tests.cluster.steering.places import (
    GB,
    SIZES,
    A,
    B,
    C,
    chosen,
    cluster,
    demand,
    node,
    ordered,
    pod,
    volume,
    warming,
)  # fmt: skip


def strict(revision=A, *waiting):
    return demand(volume(revision, placement="require"), waiting=waiting)


def test_it_is_brought_where_the_pod_can_go():
    nodes = cluster(*(node(f"n{n}") for n in range(9)), node("gpu", labels={"gpu": "yes"}))
    assert chosen(strict(A, pod(selector={"gpu": "yes"})), nodes) == {"gpu"}


def test_a_staged_copy_that_the_pod_cannot_use_is_no_answer():
    nodes = cluster(node("n1", A), node("gpu", labels={"gpu": "yes"}))
    assert chosen(strict(A, pod(selector={"gpu": "yes"})), nodes) == {"n1", "gpu"}


def test_many_pods_that_are_alike_get_one_node():
    nodes = cluster(*(node(f"n{n}") for n in range(9)))
    assert len(chosen(strict(A, *(pod(f"p{n}") for n in range(20))), nodes)) == 1


@pytest.mark.parametrize("shared", ["a", "n", "z"])
def test_pods_that_differ_share_a_node_that_all_can_use(shared):
    nodes = cluster(
        *(node(f"x{n}", labels={"x": "1"}) for n in range(5)),
        *(node(f"y{n}", labels={"y": "1"}) for n in range(5)),
        node(shared, labels={"x": "1", "y": "1"}),
    )
    assert chosen(strict(A, pod("p", selector={"x": "1"}), pod("q", selector={"y": "1"})), nodes) == {shared}


def test_a_node_that_one_pod_needs_serves_the_other_too():
    nodes = cluster(node("n1", labels={"x": "1"}, wanted=[A]), node("n2", labels={"x": "1", "y": "1"}))
    assert chosen(strict(A, pod("p", selector={"x": "1"}), pod("q", selector={"y": "1"})), nodes) == {"n2"}


def test_pods_that_can_share_none_get_a_node_each():
    nodes = cluster(node("n1", labels={"x": "1"}), node("n2", labels={"y": "1"}))
    assert chosen(strict(A, pod("p", selector={"x": "1"}), pod("q", selector={"y": "1"})), nodes) == {"n1", "n2"}


def test_the_pods_of_a_daemon_set_get_every_node():
    nodes = cluster(*(node(f"n{n}") for n in range(5)))
    pods = [pod(name, affinity=((Requirement("metadata.name", "In", (name,)),),)) for name in nodes]
    assert chosen(strict(A, *pods), nodes) == set(nodes)


def test_a_pod_waits_urgently_until_it_is_staged():
    wanted = choose(strict(A, pod()), cluster(node("n1")), SIZES, {}).wanted
    assert wanted["n1"].urgent
    assert not choose(strict(A, pod()), cluster(node("n1", A)), SIZES, {}).wanted["n1"].urgent


def test_a_pod_that_no_node_suits_is_told():
    choice = choose(strict(A, pod(selector={"gpu": "yes"})), cluster(node("n1", A)), SIZES, {})
    assert choice.lacking == "pod team/p can use no node that has an agent: see its selector, affinity and tolerations"


class TestTwoModels:
    """The choices for both revisions of one pod come to one node."""

    BOTH = Waiting(pod(), (A, B))

    def both(self, nodes):
        return chosen(strict(A, self.BOTH), nodes), chosen(strict(B, self.BOTH), nodes)

    def test_they_agree_where_nothing_is(self):
        a, b = self.both(cluster(*(node(f"n{n}") for n in range(20))))
        assert a == b
        assert len(a) == 1

    def test_the_node_that_has_one_gets_the_other(self):
        a, b = self.both(cluster(*(node(f"n{n}") for n in range(20)), node("n20", A)))
        assert (a, b) == ({"n20"}, {"n20"})

    def test_one_node_gets_both_if_each_is_staged_elsewhere(self):
        a, b = self.both(cluster(node("n1", A), node("n2", B)))
        assert len(a & b) == 1

    def test_the_node_needs_room_for_all_that_it_lacks(self):
        a, b = self.both(cluster(node("n1", A, available=15 * GB), node("n2", available=30 * GB)))
        assert "n2" in a
        assert "n2" in b

    @pytest.mark.parametrize("guarded", [{}, {A: "Keep"}])
    def test_evicting_one_of_them_makes_no_room_for_the_other(self, guarded):
        full = node("n1", A, available=10 * GB, evictable=0 if guarded else 10 * GB, guarded=guarded)
        assert "that pod team/p could use has room" in choose(strict(B, self.BOTH), cluster(full), SIZES, {}).lacking

    def test_the_staged_one_stays_wanted_while_both_are_brought_elsewhere(self):
        a, _ = self.both(cluster(node("n1", A, available=15 * GB), node("n2", available=30 * GB)))
        assert a == {"n1", "n2"}

    def test_a_node_that_will_have_both_is_kept_when_one_gets_staged_elsewhere(self):
        kept = node("n1", warming(A), warming(B), wanted=[A, B])
        a, b = self.both(cluster(kept, node("n2", A)))
        assert "n1" in a
        assert b == {"n1"}

    @pytest.mark.parametrize("first", [A, B])
    def test_they_agree_whichever_is_ordered_first(self, first):
        nodes = cluster(*(node(f"n{n}") for n in range(20)), node("n20", C), node("n21", A), node("n22", B))
        second = B if first == A else A
        one = choose(strict(first, self.BOTH), nodes, SIZES, {})
        other = choose(strict(second, self.BOTH), ordered(nodes, first, one), SIZES, {})
        assert set(one.wanted) & set(other.wanted)

    def test_no_room_for_both_together_is_told(self):
        choice = choose(strict(A, self.BOTH), cluster(node("n1", available=25 * GB)), SIZES, {})
        assert (
            "no node of the 1 that pod team/p could use has room for 30.0 GB: the most is 25.0 GB on n1"
            in choice.lacking
        )
