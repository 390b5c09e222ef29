"""How many bytes a namespace's claims may still add."""

from hypothesis import given
from hypothesis import strategies as st

from csi_model.cluster.steering.quotas import allowed
from csi_model.cluster.steering.wanting import choose
from csi_model.core.placement import ALL
from tests.cluster.steering.places import GB, SIZES, A, B, C, cluster, demand, node, ordered, volume, warming

NODES = cluster(node("n1", A), node("n2", warming(A)), node("n3", wanted=[A]), node("n4"))


def left(*volumes, quota=None, nodes=NODES):
    return {name: count // GB for name, count in allowed(quota or {"x": 100 * GB}, volumes, nodes).items()}


def test_copies_that_are_there_brought_or_wanted_count():
    assert left(volume(A, 3, namespace="x")) == {"x": 70}


def test_no_more_of_them_count_than_the_claim_wants():
    assert left(volume(A, 2, namespace="x")) == {"x": 80}
    assert left(volume(A, ALL, namespace="x")) == {"x": 70}
    assert left(volume(A, 0, namespace="x")) == {"x": 100}


def test_only_copies_count_on_nodes_that_the_claim_matches():
    assert left(volume(A, 3, [("gpu", "yes")], namespace="x")) == {"x": 100}


def test_a_strict_claim_counts_for_all_that_is_wanted():
    assert left(volume(A, 0, namespace="x", placement="require")) == {"x": 90}


def test_claims_of_one_revision_share_copies_in_a_namespace_and_not_across():
    volumes = (volume(A, 2, namespace="x"), volume(A, 3, namespace="x"), volume(A, 1, namespace="y"))
    assert left(*volumes, quota={"*": 100 * GB}) == {"x": 70, "y": 90}


def test_each_has_its_own_quota_or_everybody_elses():
    volumes = (volume(A, 0, namespace="x"), volume(A, 0, namespace="y"))
    assert left(*volumes, quota={"x": GB, "*": 2 * GB}) == {"x": 1, "y": 2}
    assert left(*volumes, quota={"x": GB}) == {"x": 1}


def test_a_quota_that_was_lowered_leaves_nothing():
    assert left(volume(A, 3, namespace="x"), quota={"x": GB}) == {"x": 0}


def test_a_volume_without_a_claim_or_that_nobody_can_bring_costs_nobody_anything():
    assert left(volume(A, 3), volume(A, 3, namespace="x", warmable=False)) == {"x": 100}


COUNTS = st.dictionaries(st.sampled_from([A, B, C]), st.integers(0, 3), min_size=1)


@given(COUNTS, st.integers(0, 100), st.sampled_from(["prefer", "require"]))
def test_several_choices_in_one_pass_never_exceed_the_quota_together(counts, quota, placement):
    quotas = {"x": quota * GB}
    nodes = cluster(*(node(f"n{n}") for n in range(4)))
    volumes = [volume(revision, count, namespace="x", placement=placement) for revision, count in counts.items()]
    for each in volumes:
        choice = choose(demand(each), nodes, SIZES, allowed(quotas, volumes, nodes))
        nodes = ordered(nodes, each.revision, choice)
    used = sum(SIZES[revision] for node in nodes.values() for revision in node.wants)
    assert used <= quotas["x"]
