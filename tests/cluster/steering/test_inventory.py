"""What a piece of news marks: only what it concerns."""

from dataclasses import replace

import pytest

from csi_model.cluster.steering.inbox import Kind
from csi_model.core.copies import Wanted
from csi_model.core.placement import Placement
from csi_model.core.volume import Claim
from tests.cluster.steering.offline import Offline
from tests.cluster.steering.places import GB, A, B, copy, pod, warming
from tests.cluster.steering.world import label


def claiming(name, *claims, **more):
    return replace(pod(name, **more), claims=claims)


class Known(Offline):
    """Applies news, and says what they marked."""

    @property
    def inventory(self):
        return self.loop.inventory

    def apply(self):
        self.inventory.dirty.clear()
        self.inventory.apply(self.inbox.take())
        return self.inventory.dirty


@pytest.fixture
def known():
    known = Known()
    for name in ("n1", "n2"):
        known.node(name)
    known.volume(A, name="m-1", claim="c")
    known.volume(B, name="m-2", claim="d", placement="require")
    known.apply()
    return known


def test_it_is_synced_when_every_kind_was_listed():
    empty = Offline()
    news = empty.inbox.take()
    empty.loop.inventory.apply(news[:-1])
    assert not empty.loop.inventory.synced
    empty.loop.inventory.apply(news[-1:])
    assert empty.loop.inventory.synced


def test_a_heartbeat_marks_nothing(known):
    known.says("n1")
    known.says("n1", used=7 * GB)
    dirty = known.apply()
    assert not any((dirty.nodes, dirty.revisions, dirty.standings, dirty.joined, dirty.roomier))
    assert known.inventory.nodes["n1"].report.used == 7 * GB


def test_a_node_object_that_says_the_same_marks_nothing(known):
    known.node("n1")
    dirty = known.apply()
    assert not any((dirty.nodes, dirty.revisions))


def test_progress_concerns_only_what_people_are_told(known):
    known.says("n1", warming(A))
    known.apply()
    known.says("n1", warming(A, present=7 * GB, rate=1e9))
    dirty = known.apply()
    assert (dirty.nodes, dirty.revisions, dirty.standings) == (set(), set(), {A})


def test_a_copy_that_comes_where_nobody_wants_it_is_a_reason_to_choose(known):
    known.says("n1", copy(A))
    dirty = known.apply()
    assert (dirty.nodes, dirty.revisions) == ({"n1"}, {A})


def test_a_copy_that_comes_where_it_is_wanted_is_none(known):
    known.inventory.order("n1", [Wanted(A, "m-1")], {})
    for one in (warming(A), copy(A)):
        known.says("n1", one)
        dirty = known.apply()
        assert (dirty.nodes, dirty.revisions) == ({"n1"}, set())


def test_a_copy_that_pods_have_to_go_to_is_a_reason_for_what_was_kept_until_then(known):
    known.inventory.order("n1", [Wanted(B, "m-2")], {})
    known.says("n1", warming(B))
    assert known.apply().revisions == set()
    known.says("n1", copy(B))
    assert known.apply().revisions == {B}


def test_a_copy_that_goes_or_fails_is_one(known):
    known.inventory.order("n1", [Wanted(A, "m-1")], {})
    known.says("n1", copy(A))
    known.apply()
    for copies in ([], [warming(A, error="denied")]):
        known.says("n1", *copies)
        assert known.apply().revisions == {A}


def test_a_hand_on_our_label_concerns_the_node_alone(known):
    known.node("n1", labels={label(A): "staged"})
    dirty = known.apply()
    assert (dirty.nodes, dirty.revisions, dirty.joined) == ({"n1"}, set(), set())


def test_another_label_concerns_what_is_there_and_who_wants_all(known):
    known.says("n1", copy(A))
    known.apply()
    known.node("n1", copy(A), labels={"gpu": "h100"})
    dirty = known.apply()
    assert (dirty.nodes, dirty.revisions, dirty.joined) == ({"n1"}, {A}, {"n1"})


def test_more_room_is_news_for_who_lacks_it(known):
    known.says("n1", available=1 * GB)
    assert not known.apply().roomier
    known.says("n1", available=5 * GB)
    assert known.apply().roomier


def test_a_pod_concerns_its_models_and_its_node(known):
    known.pod(claiming("p", "c", "other"))
    dirty = known.apply()
    assert (dirty.revisions, dirty.nodes) == ({A}, set())
    known.pod(claiming("p", "c", "other", node="n1"))
    dirty = known.apply()
    assert (dirty.revisions, dirty.nodes) == ({A}, {"n1"})
    assert known.inventory.using.needed_on("n1") == {A}


def test_a_pod_of_other_claims_concerns_nobody(known):
    known.pod(claiming("p", "other", node="n1"))
    dirty = known.apply()
    assert not any((dirty.revisions, dirty.nodes))


def test_a_pod_that_comes_before_its_volume_is_found_by_it(known):
    known.pod(claiming("p", "late", node="n1"))
    known.apply()
    known.volume(A, name="m-3", claim="late")
    dirty = known.apply()
    assert (dirty.revisions, dirty.nodes) == ({A}, {"n1"})


def test_a_pod_that_is_gone_needs_nothing(known):
    known.pod(claiming("p", "c", node="n1"))
    known.apply()
    known.inbox.listener(Kind.PODS).changed(("team", "p"), None)
    dirty = known.apply()
    assert (dirty.revisions, dirty.nodes) == ({A}, {"n1"})
    assert known.inventory.using.needed_on("n1") == set()


def test_the_strictest_volume_says_how_a_revision_is_steered(known):
    assert known.inventory.steered == {A: Placement.PREFER, B: Placement.REQUIRE}
    known.volume(A, name="m-3", claim="e", placement="require")
    known.apply()
    assert known.inventory.required == {A, B}
    known.volume(A, name="m-3", claim="e", placement="any")
    known.volume(A, name="m-1", claim="c", placement="any")
    known.apply()
    assert known.inventory.steered == {B: Placement.REQUIRE}


def test_of_two_volumes_of_one_claim_the_newer_one_is_mounted_and_both_are_needed(known):
    known.volume(A, name="m-0", claim="d", created=5.0)
    known.pod(claiming("p", "d", node="n1"))
    known.apply()
    using = known.inventory.using
    assert [volume.name for volume in using.mounted_by(using.pods["team", "p"])] == ["m-0"]
    assert using.needed_on("n1") == {A, B}


def test_what_a_list_does_not_have_is_gone(known):
    known.inbox.put(Kind.VOLUMES, None, {})
    known.inbox.put(Kind.PODS, None, {})
    dirty = known.apply()
    assert {A, B} <= dirty.revisions
    assert known.inventory.using.volumes == {}
    assert known.inventory.sizes == {}


def test_a_node_is_silent_by_our_clock_whatever_it_says(known):
    known.beats = -1e12  # its clock is off by millennia
    known.says("n1", copy(A))
    known.apply()
    known.clock.now += 100
    known.says("n2")
    known.apply()
    known.clock.now += 30
    known.inventory.listen(known.clock())
    assert [known.inventory.nodes[name].alive for name in ("n1", "n2")] == [False, True]
    assert A in known.inventory.dirty.revisions
    known.says("n1", copy(A))
    assert A in known.apply().revisions
    assert known.inventory.nodes["n1"].alive


def test_while_nobody_can_be_heard_nobody_is_silent(known):
    known.clock.now += 119
    known.inventory.listen(known.clock(), deaf=True)
    known.clock.now += 119
    known.inventory.listen(known.clock())
    assert known.inventory.nodes["n1"].alive
    known.clock.now += 2
    known.inventory.listen(known.clock())
    assert not known.inventory.nodes["n1"].alive


def test_what_a_node_was_told_goes_with_it(known):
    known.inventory.order("n1", [Wanted(A, "m-1")], {})
    known.inbox.put(Kind.NODES, ("", "n1"), None)
    known.apply()
    assert known.inventory.ordered("n1") is None


def test_a_node_that_never_spoke_is_not_alive(known):
    known.inbox.put(Kind.NODES, ("", "n3"), replace(known.inventory.known("n1"), name="n3"))
    known.apply()
    assert not known.inventory.nodes["n3"].alive


def test_what_is_ordered_counts_before_the_api_has_it_and_no_longer_when_somebody_else_decides(known):
    known.inventory.order("n1", [Wanted(A, "m-1")], {})
    known.says("n1", used=5)
    known.apply()
    assert known.inventory.nodes["n1"].wants.keys() == {A}
    assert known.inventory.holders(A) == {"n1"}
    known.inventory.forget_orders()
    assert known.inventory.nodes["n1"].wants == {}
    assert known.inventory.holders(A) == set()


def test_a_claim_without_volumes_is_nobodys(known):
    known.inbox.put(Kind.VOLUMES, ("", "m-1"), None)
    known.pod(claiming("p", "c", node="n1"))
    known.apply()
    assert known.inventory.using.needed_on("n1") == set()
    assert Claim("team", "d", "uid-d") in {volume.claim for volume in known.inventory.using.volumes.values()}
