"""What holds of every choice, whatever the cluster looks like."""

from dataclasses import replace
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csi_model.cluster.facts import Guarded, Node, Taint, Toleration
from csi_model.cluster.steering.demand import Demand, Waiting
from csi_model.cluster.steering.fitting import usable
from csi_model.cluster.steering.ranking import effort, staged
from csi_model.cluster.steering.wanting import choose
from csi_model.core.copies import Guard, NodeReport, Wanted
from csi_model.core.placement import ALL, Placement
from csi_model.core.warmth import Warmth
from tests.cluster.steering.places import GB, SIZES, A, B, C, copy, ordered, pod, volume

REVISIONS = [A, B, C]
NAMES = [f"n{n}" for n in range(6)]
TAINT = Taint("t", "", "NoSchedule")
EXAMPLES = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Dice:
    """Draws facts; from a Random of its own, since drawing each one from hypothesis takes fifty times as long."""

    def __init__(self, random):
        self.one_of = random.choice
        self.upto = lambda most: random.randint(0, most)
        self.flip = lambda: random.random() < 0.5
        self.some_of = lambda items, most: set(random.sample(items, random.randint(0, most)))

    def labels(self):
        return {key: "1" for key in "xy" if self.flip()}

    def copy(self, revision):
        warmth = self.one_of(list(Warmth))
        present = SIZES[revision] if warmth is Warmth.STAGED else self.one_of([0, GB, 5 * GB])
        return copy(revision, warmth, present, held=self.flip(), leaving=self.flip())

    def node(self, name):
        here = [self.copy(revision) for revision in REVISIONS if self.flip()]
        report = NodeReport(0, 0, self.upto(70) * GB, self.upto(70) * GB, tuple(here))
        return Node(
            name,
            labels=self.labels(),
            schedulable=self.upto(3) > 0,
            taints=(TAINT,) if self.upto(2) == 0 else (),
            alive=self.upto(3) > 0,
            report=report if self.upto(3) > 0 else None,
            wanted=tuple(Wanted(revision, "m-0", self.flip()) for revision in REVISIONS if self.flip()),
            guarded={
                each.revision: Guarded(self.one_of(list(Guard)), 0.0)
                for each in here
                if each.warmth is Warmth.STAGED and self.flip()
            },
        )

    def volume(self, revision, number):
        return volume(
            revision,
            self.one_of([0, 1, 2, 3, ALL]),
            sorted(self.labels().items()) if self.flip() else (),
            pin=self.flip(),
            placement=self.one_of(list(Placement)),
            namespace=self.one_of(["", "x", "y"]),
            name=f"m-{number}",
            warmable=self.upto(2) > 0,
            created=float(self.upto(2)),
        )

    def waiting(self, name):
        tolerations = self.one_of([(), (Toleration(exists=True),)])
        revisions = tuple(sorted(self.some_of(REVISIONS, 3) or {A}))
        return Waiting(pod(name, selector=self.labels(), tolerations=tolerations), revisions)

    def demands(self):
        """One for each revision; a pod that needs several waits in all of them."""
        pods = [self.waiting(f"p{number}") for number in range(self.upto(3))]
        found = {}
        for revision in REVISIONS:
            own = [self.volume(revision, number) for number in range(1 + self.upto(2))]
            waiting = tuple(each for each in pods if revision in each.revisions)
            strict = [volume(revision, placement="require", name="m-9")] if waiting else []
            bound = frozenset(self.some_of(NAMES, 2))
            found[revision] = Demand(revision, SIZES[revision], (*own, *strict), bound, waiting)
        return found


@st.composite
def situations(draw):
    """Demands, nodes by name, and a quota."""
    dice = Dice(Random(draw(st.integers(0, 2**64))))
    nodes = {name: dice.node(name) for name in NAMES[: draw(st.integers(1, len(NAMES)))]}
    return dice.demands(), nodes, {dice.one_of(["x", "y", "team"]): dice.upto(60) * GB} if dice.flip() else {}


def fits(node, revisions):
    wanted = all(node.begun(revision) or revision in node.wants for revision in revisions)
    return effort(node, SIZES, revisions, wanted=wanted) is not None


def passed(found, cluster, allowed=None):
    """The cluster after a choice for each demand, one after the other."""
    for revision, demand in found.items():
        cluster = ordered(cluster, revision, choose(demand, cluster, SIZES, allowed or {}))
    return cluster


@given(situations())
@EXAMPLES
def test_a_choice_that_was_ordered_is_made_again(situation):
    found, cluster, allowed = situation
    demand = found[A]
    demand = replace(demand, waiting=tuple(each for each in demand.waiting if each.revisions == (A,)))
    first = choose(demand, cluster, SIZES, allowed)
    after = ordered(cluster, A, first)
    left = dict.fromkeys(allowed, 0)  # at worst
    assert choose(demand, after, SIZES, left).wanted == first.wanted


@given(situations())
@EXAMPLES
def test_choices_for_several_revisions_come_to_rest(situation):
    found, cluster, _ = situation
    for _ in range(6):
        before, cluster = cluster, passed(found, cluster)
        if before == cluster:
            return
    raise AssertionError("it still moves after 6 passes")


@given(situations())
@EXAMPLES
def test_a_choice_does_not_depend_on_the_order_of_anything(situation):
    found, cluster, _ = situation
    demand = found[A]
    other = replace(demand, volumes=demand.volumes[::-1], waiting=demand.waiting[::-1])
    assert choose(demand, cluster, SIZES, {}) == choose(other, dict(reversed(cluster.items())), SIZES, {})


@given(situations())
@EXAMPLES
def test_nothing_is_wanted_where_it_cannot_be_but_by_a_bound_pod(situation):
    found, cluster, _ = situation
    wanted = choose(found[A], cluster, SIZES, {}).wanted
    for name in wanted.keys() - found[A].bound:
        node = cluster[name]
        assert node.alive
        assert node.report is not None
        assert fits(node, [A])


@given(situations())
@EXAMPLES
def test_every_bound_pods_node_gets_it(situation):
    found, cluster, _ = situation
    demand = found[A]
    wanted = choose(demand, cluster, SIZES, {}).wanted
    if any(each.warmable for each in demand.volumes):
        for name in demand.bound & cluster.keys():
            alive = cluster[name] if cluster[name].alive else replace(cluster[name], alive=True)
            assert staged(alive, A) or wanted[name].urgent


@given(situations())
@EXAMPLES
def test_a_strict_volume_is_never_nowhere(situation):
    found, cluster, _ = situation
    demand = found[A]
    choice = choose(demand, cluster, SIZES, {})
    if any(each.warmable and each.placement is Placement.REQUIRE for each in demand.volumes):
        possible = [node for node in cluster.values() if node.schedulable and node.alive and node.report is not None
                    and (fits(node, [A]))]  # fmt: skip
        usable_ones = [name for name in choice.wanted if cluster[name].schedulable]
        assert usable_ones or choice.lacking or not possible
        assert usable_ones or not possible
        having = {node.name for node in possible if staged(node, A)}
        assert not having or having & choice.wanted.keys() or having <= demand.bound


@given(situations())
@EXAMPLES
def test_every_waiting_pod_gets_one_node_with_all_its_models_if_any_has_room(situation):
    found, cluster, _ = situation
    after = cluster
    for _ in range(4):
        after = passed(found, after)
    for demand in found.values():
        for waiting in demand.waiting:
            mine = [
                node for node in after.values() if node.alive and node.report is not None and usable(waiting.pod, node)
            ]
            possible = [node for node in mine if fits(node, waiting.revisions)]
            ready = [
                node for node in mine
                if all(node.begun(revision) or revision in node.wants for revision in waiting.revisions)
            ]  # fmt: skip
            assert ready or not possible


@given(situations())
@EXAMPLES
def test_choices_made_from_the_same_facts_agree_on_the_nodes_of_waiting_pods(situation):
    found, cluster, _ = situation
    choices = {revision: choose(demand, cluster, SIZES, {}) for revision, demand in found.items()}
    after = cluster
    for revision, choice in choices.items():
        after = ordered(after, revision, choice)
    for waiting in {id(each): each for demand in found.values() for each in demand.waiting}.values():
        if "no node of" in "".join(choices[revision].lacking for revision in waiting.revisions):
            continue
        mine = [node for node in after.values() if node.alive and node.report is not None and usable(waiting.pod, node)]
        assert not mine or any(
            all(node.begun(revision) or revision in node.wants for revision in waiting.revisions) for node in mine
        )


@given(situations())
@EXAMPLES
def test_fewer_nodes_than_wanted_are_always_explained(situation):
    found, cluster, allowed = situation
    choice = choose(found[A], cluster, SIZES, allowed)
    assert (choice.replicas > len(choice.wanted)) == bool(choice.lacking)


@given(situations())
@EXAMPLES
def test_no_more_is_added_than_the_quota_allows(situation):
    found, cluster, allowed = situation
    demand = found[A]
    everybodys = replace(
        demand, volumes=tuple(volume(A, 3, namespace="x") for _ in demand.volumes), bound=frozenset(), waiting=()
    )
    new = [
        name for name in choose(everybodys, cluster, SIZES, allowed).wanted
        if A not in cluster[name].wants and not cluster[name].begun(A)
    ]  # fmt: skip
    assert len(new) * SIZES[A] <= allowed.get("x", len(new) * SIZES[A])


@given(situations())
@EXAMPLES
def test_fewer_replicas_never_drop_a_staged_copy_for_one_that_is_not(situation):
    found, cluster, _ = situation
    many = replace(found[A], volumes=(volume(A, 3),), bound=frozenset(), waiting=())
    few = replace(many, volumes=(volume(A, 1),))
    after = ordered(cluster, A, choose(many, cluster, SIZES, {}))
    kept = choose(few, after, SIZES, {}).wanted
    having = [
        name for name in choose(many, after, SIZES, {}).wanted if staged(after[name], A) and after[name].schedulable
    ]
    assert not having or all(staged(after[name], A) for name in kept)
