"""Which nodes shall have a Revision: what its volumes want ahead of pods."""

import pytest

from csi_model.cluster.facts import Node, Taint
from csi_model.cluster.steering.wanting import choose
from csi_model.core.copies import Wanted
from csi_model.core.placement import ALL
from csi_model.core.warmth import Warmth
from tests.cluster.steering.places import (
    GB,
    SIZES,
    A,
    B,
    chosen,
    cluster,
    copy,
    demand,
    node,
    ordered,
    volume,
    warming,
)  # fmt: skip

H100 = {"gpu": "h100"}
SELECTOR = (("gpu", "h100"),)


def test_nothing_is_wanted_of_a_volume_that_wants_nothing():
    assert choose(demand(volume()), cluster(node("n1", A), node("n2")), SIZES, {}).wanted == {}


def test_as_many_nodes_as_replicas_are_chosen_among_those_that_match():
    nodes = cluster(node("n1", labels=H100), node("n2", labels=H100), node("n3", labels=H100), node("n4"))
    found = chosen(demand(volume(replicas=2, selector=SELECTOR)), nodes)
    assert len(found) == 2
    assert "n4" not in found


def test_all_is_every_node_that_matches():
    nodes = cluster(node("n1", labels=H100), node("n2", labels=H100), node("n3"))
    assert chosen(demand(volume(replicas=ALL, selector=SELECTOR)), nodes) == {"n1", "n2"}


def test_all_is_also_a_cordoned_node_where_it_is_staged_and_no_other_cordoned_one():
    nodes = cluster(node("n1"), node("n2", A, schedulable=False), node("n3", schedulable=False))
    assert chosen(demand(volume(replicas=ALL)), nodes) == {"n1", "n2"}


@pytest.mark.parametrize(
    "better", [node("n9", A), node("n9", warming(A)), node("n9", wanted=[A]), node("n9", copy(A, Warmth.COLD, 5 * GB))]
)
def test_a_node_that_has_some_of_it_or_wants_it_comes_first(better):
    nodes = cluster(*(node(f"n{n}") for n in range(9)), better)
    assert chosen(demand(volume(replicas=1)), nodes) == {"n9"}


def test_a_staged_copy_outlasts_one_that_is_being_brought_when_fewer_are_wanted():
    nodes = cluster(node("n1", warming(A), wanted=[A]), node("n2", A, wanted=[A]), node("n3", warming(A), wanted=[A]))
    assert chosen(demand(volume(replicas=1)), nodes) == {"n2"}


def test_of_two_that_are_being_brought_the_one_that_is_further_stays():
    nodes = cluster(node("n1", warming(A, present=1), wanted=[A]), node("n2", warming(A, present=9 * GB), wanted=[A]))
    assert chosen(demand(volume(replicas=1)), nodes) == {"n2"}


def test_a_node_that_comes_changes_nothing():
    nodes = cluster(node("n1"), node("n2"))
    wanted = demand(volume(replicas=1))
    after = ordered(nodes, A, choose(wanted, nodes, SIZES, {}))
    for number in range(3, 20):
        after[f"n{number}"] = node(f"n{number}")
    assert chosen(wanted, after) == chosen(wanted, nodes)


def test_a_node_that_is_silent_is_replaced():
    nodes = cluster(node("n1", A, wanted=[A], alive=False), node("n2"))
    assert chosen(demand(volume(replicas=1)), nodes) == {"n2"}


def test_a_node_that_left_the_selector_is_replaced():
    nodes = cluster(node("n1", A, wanted=[A]), node("n2", labels=H100))
    assert chosen(demand(volume(replicas=1, selector=SELECTOR)), nodes) == {"n2"}


def test_a_cordoned_nodes_copy_is_no_replica():
    nodes = cluster(node("n1", A, wanted=[A], schedulable=False), node("n2"))
    assert chosen(demand(volume(replicas=1)), nodes) == {"n2"}


def test_a_cordoned_nodes_copy_is_a_replica_where_nothing_else_can_be_one():
    nodes = cluster(node("n1", A, wanted=[A], schedulable=False), node("n2", available=GB))
    choice = choose(demand(volume(replicas=1)), nodes, SIZES, {})
    assert (set(choice.wanted), choice.lacking) == ({"n1"}, "")


def test_volumes_of_one_revision_share_nodes():
    nodes = cluster(node("n1", labels=H100), *(node(f"n{n}") for n in range(2, 9)))
    found = chosen(demand(volume(replicas=2, name="m-1"), volume(replicas=1, selector=SELECTOR, name="m-2")), nodes)
    assert len(found) == 2
    assert "n1" in found


def test_a_staged_copy_outlasts_one_that_another_volume_is_about_to_get():
    nodes = cluster(node("n1", labels=H100), node("n2", A, wanted=[A]))
    found = chosen(demand(volume(replicas=1, name="m-1"), volume(replicas=1, selector=SELECTOR, name="m-2")), nodes)
    assert found == {"n1", "n2"}


def test_the_oldest_volume_that_can_brings_it_and_any_pin_pins():
    volumes = (
        volume(replicas=1, name="m-1", created=1.0, warmable=False, pin=True),
        volume(name="m-3", created=2.0), volume(name="m-2", created=3.0, replicas=1),
    )  # fmt: skip
    choice = choose(demand(*volumes), cluster(node("n1")), SIZES, {})
    assert choice.wanted == {"n1": Wanted(A, "m-3", urgent=False, pin=True)}


def test_a_volume_that_nobody_could_bring_wants_nothing_and_says_why():
    choice = choose(demand(volume(replicas=2, warmable=False), bound=["n1"]), cluster(node("n1")), SIZES, {})
    assert (choice.wanted, choice.replicas) == ({}, 2)
    assert "auth: secret" in choice.lacking


def test_a_node_without_a_taint_comes_first_but_a_taint_is_no_reason_to_move():
    tainted = {"taints": (Taint("node-role.kubernetes.io/control-plane", "", "NoSchedule"),)}
    free = [node(f"n{n}") for n in range(3)]
    plane = [node(f"c{n}", **tainted) for n in range(20)]
    assert len(chosen(demand(volume(replicas=4)), cluster(*free, *plane)) & {"n0", "n1", "n2"}) == 3
    assert chosen(demand(volume(replicas=1)), cluster(*free, node("c1", A, wanted=[A], **tainted))) == {"c1"}


def test_different_revisions_spread_over_nodes_that_are_alike():
    nodes = cluster(*(node(f"n{n}") for n in range(4)))
    found = {}
    for digit in "0123456789abcdef":
        revision = digit * 64
        one = demand(volume(replicas=1))
        name = next(iter(choose(type(one)(revision, GB, one.volumes), nodes, {revision: GB}, {}).wanted))
        found[name] = found.get(name, 0) + 1
    assert set(found) == set(nodes)


class TestRoom:
    """Where there is no room nothing is wanted."""

    def test_the_node_that_has_it_is_chosen(self):
        nodes = cluster(
            node("n1", available=9 * GB), node("n2", available=8 * GB, evictable=2 * GB), node("n3", available=0)
        )
        assert chosen(demand(volume(replicas=1)), nodes) == {"n2"}

    def test_a_node_that_has_to_evict_comes_after_one_that_has_not(self):
        nodes = cluster(node("n1", available=0, evictable=100 * GB), node("n2"))
        assert chosen(demand(volume(replicas=1)), nodes) == {"n2"}

    def test_guarded_copies_that_may_leave_make_room_at_last(self):
        nodes = cluster(node("n1", B, available=0, guarded={B: "Keep"}), node("n2", available=0))
        assert chosen(demand(volume(replicas=1)), nodes) == {"n1"}

    @pytest.mark.parametrize(
        "full",
        [node("n1", copy(B, held=True), available=0, guarded={B: "Keep"}),
         node("n1", B, available=0, wanted=[B], guarded={B: "Keep"})],
    )  # fmt: skip
    def test_a_guarded_copy_that_is_held_or_wanted_makes_none(self, full):
        assert chosen(demand(volume(replicas=1)), cluster(full)) == set()

    def test_what_is_wanted_there_and_has_not_begun_takes_room(self):
        nodes = cluster(node("n1", wanted=[B], available=25 * GB))
        choice = choose(demand(volume(replicas=1)), nodes, SIZES, {})
        assert choice.lacking == "no node of the 1 has room for 10.0 GB: the most is 5.00 GB on n1"

    def test_what_has_begun_took_it_already(self):
        nodes = cluster(node("n1", warming(B), wanted=[B], available=15 * GB))
        assert chosen(demand(volume(replicas=1)), nodes) == {"n1"}

    def test_what_is_staged_or_being_brought_needs_none(self):
        nodes = cluster(node("n1", A, available=0), node("n2", warming(A), available=0))
        assert chosen(demand(volume(replicas=2)), nodes) == {"n1", "n2"}

    def test_a_want_whose_room_went_away_moves(self):
        nodes = cluster(node("n1", available=0, wanted=[A]), node("n2"))
        assert chosen(demand(volume(replicas=1)), nodes) == {"n2"}

    def test_of_two_wants_that_overshoot_a_node_only_the_later_one_moves(self):
        nodes = cluster(node("n1", available=25 * GB, wanted=[A, B]), node("n2"))
        assert chosen(demand(volume(A, replicas=1)), nodes) == {"n1"}
        assert chosen(demand(volume(B, replicas=1)), nodes) == {"n2"}

    def test_a_failure_is_no_reason_to_move(self):
        nodes = cluster(node("n1", copy(A, Warmth.COLD, error="403"), wanted=[A]), node("n2"))
        assert chosen(demand(volume(replicas=1)), nodes) == {"n1"}

    def test_a_node_that_never_spoke_has_none(self):
        assert chosen(demand(volume(replicas=1)), cluster(Node("n1"))) == set()


class TestBound:
    """A pod that is bound to a node wants it there, whatever else is true."""

    @pytest.mark.parametrize(
        "where",
        [node("n1", available=0), node("n1", schedulable=False), node("n1", alive=False), node("n1", warming(A)),
         node("n1", A, guarded={A: "Released"})],
    )  # fmt: skip
    def test_it_is_brought_there_urgently(self, where):
        choice = choose(demand(volume(namespace="x"), bound=["n1"]), cluster(where, node("n2")), SIZES, {"x": 0})
        assert choice.wanted == {"n1": Wanted(A, "m-1", urgent=True)}

    @pytest.mark.parametrize(
        "where", [node("n1", A), node("n1", A, alive=False), node("n1", A, guarded={A: "Withdrawn"})]
    )
    def test_where_it_is_staged_nothing_is_wanted(self, where):
        assert chosen(demand(volume(), bound=["n1"]), cluster(where)) == set()

    def test_a_node_that_is_unknown_is_left_out(self):
        assert chosen(demand(volume(), bound=["n1"]), {}) == set()

    def test_it_is_a_replica_too(self):
        nodes = cluster(*(node(f"n{n}") for n in range(9)))
        assert chosen(demand(volume(replicas=1), bound=["n5"]), nodes) == {"n5"}

    def test_it_takes_no_staged_replicas_place(self):
        assert chosen(demand(volume(replicas=1), bound=["n5"]), cluster(node("n1", A), node("n5"))) == {"n1", "n5"}


class TestRequire:
    """A volume that is required strictly is never nowhere."""

    def test_it_is_wanted_on_one_node_without_any_pod(self):
        assert len(chosen(demand(volume(placement="require")), cluster(node("n1"), node("n2")))) == 1

    def test_the_staged_copy_is_wanted(self):
        nodes = cluster(node("n1"), node("n2", A), node("n3", A, wanted=[A]), node("n4", A))
        assert chosen(demand(volume(placement="require")), nodes) == {"n3"}

    @pytest.mark.parametrize("lost", [{"alive": False}, {"schedulable": False}])
    def test_another_node_is_chosen_when_the_only_one_is_lost(self, lost):
        nodes = cluster(node("n1", A, wanted=[A], **lost), node("n2"))
        assert "n2" in chosen(demand(volume(placement="require")), nodes)

    def test_a_copy_that_is_about_to_be_evicted_is_called_back(self):
        nodes = cluster(node("n1", A, guarded={A: "Released"}), node("n2"))
        assert chosen(demand(volume(placement="require")), nodes) == {"n1"}

    def test_it_goes_where_its_selector_matches_if_it_can_and_elsewhere_if_not(self):
        strict = demand(volume(placement="require", selector=SELECTOR))
        others = [node(f"n{n}") for n in range(9)]
        assert chosen(strict, cluster(*others, node("g", labels=H100))) == {"g"}
        assert len(chosen(strict, cluster(*others, node("g", labels=H100, available=0)))) == 1

    def test_the_last_staged_copy_stays_wanted_until_its_successor_is_staged(self):
        strict = demand(volume(placement="require", replicas=1, selector=SELECTOR))
        assert chosen(strict, cluster(node("old", A), node("new", labels=H100))) == {"old", "new"}
        assert chosen(strict, cluster(node("old", A, wanted=[A]), node("new", A, labels=H100))) == {"new"}

    def test_where_nothing_has_room_it_says_so(self):
        choice = choose(demand(volume(placement="require")), cluster(node("n1", available=GB)), SIZES, {})
        assert (choice.replicas, choice.lacking) == (
            1,
            "no node of the 1 has room for 10.0 GB: the most is 1.00 GB on n1",
        )
