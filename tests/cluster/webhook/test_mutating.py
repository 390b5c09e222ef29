import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.cluster.webhook.mutating import MAX_CLAIMS, MAX_MODELS, Mounted, mounted, patch
from csi_model.core.placement import Placement, label_of
from tests.cluster.webhook.pods import PREFERRED, A, B, applied, ours, pod, preferences, volume

OTHER = {"weight": 7, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}}


def affinity(*terms):
    return {"nodeAffinity": {PREFERRED: list(terms)}}


def mutated(pod, *volumes, spread=False):
    return applied(pod, patch(pod, volumes or [volume()], spread=spread))


def test_a_pod_prefers_nodes_with_its_model_and_less_so_those_that_get_it():
    assert preferences(mutated(pod("c"))) == ours(A)


@pytest.mark.parametrize("given", [{}, {"affinity": None}, {"affinity": {}}, {"affinity": {"nodeAffinity": None}}])
def test_missing_parents_are_made(given):
    assert preferences(mutated(pod("c", **given))) == ours(A)


def test_what_the_pod_prefers_itself_stays():
    after = mutated(pod("c", affinity={"podAffinity": {"x": 1}, **affinity(OTHER)}))
    assert preferences(after) == {("zone", "a"): 7, **ours(A)}
    assert after["spec"]["affinity"]["podAffinity"] == {"x": 1}


def test_of_two_models_the_bigger_one_decides():
    after = mutated(pod("c"), volume(A, 1000), volume(B, 400))
    assert preferences(after) == {**ours(A), **ours(B, 40, 10)}


def test_even_the_smallest_model_counts():
    assert preferences(mutated(pod("c"), volume(A, 10**12), volume(B, 0))) == {**ours(A), **ours(B, 4, 1)}


def test_two_volumes_of_one_model_count_once():
    after = mutated(pod("c"), volume(A), volume(A, name="m-2"))
    assert len(after["spec"]["affinity"]["nodeAffinity"][PREFERRED]) == 2


@pytest.mark.parametrize("placement", [Placement.REQUIRE, Placement.ANY])
def test_other_placements_add_nothing(placement):
    assert patch(pod("c"), [volume(placement=placement)], spread=True) == []


def test_a_label_that_the_author_mentions_is_left_to_him():
    own = {"weight": 1, "preference": {"matchExpressions": [{"key": label_of(A), "operator": "Exists"}]}}
    assert patch(pod("c", affinity=affinity(own)), [volume()], spread=False) == []


def test_a_pod_that_has_a_node_is_left_alone():
    assert patch(pod("c", nodeName="n"), [volume()], spread=True) == []


def test_of_too_many_models_the_smallest_do_not_count():
    smallest, *others = [volume(f"{n:064x}"[::-1], n + 1) for n in range(MAX_MODELS + 1)]
    labels = {key for key, _ in preferences(mutated(pod("c"), smallest, *others))}
    assert labels == {label_of(it.revision) for it in others}


@pytest.mark.parametrize("given", [{}, {"topologySpreadConstraints": []}, {"topologySpreadConstraints": None}])
def test_a_pod_without_spread_constraints_is_given_a_neutral_one(given):
    [constraint] = mutated(pod("c", **given), spread=True)["spec"]["topologySpreadConstraints"]
    assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
    assert constraint["topologyKey"] == "kubernetes.io/hostname"
    [one, other] = constraint["labelSelector"]["matchExpressions"]
    assert (one["key"], one["operator"], other["operator"]) == (other["key"], "Exists", "DoesNotExist")


def test_spread_constraints_of_the_pod_stay_as_they_are():
    own = [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]
    assert mutated(pod("c", topologySpreadConstraints=own), spread=True)["spec"]["topologySpreadConstraints"] == own


def test_no_spread_constraint_is_given_when_it_is_switched_off():
    assert "topologySpreadConstraints" not in mutated(pod("c"))["spec"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"affinity": [1]},
        {"affinity": {"nodeAffinity": "x"}},
        {"affinity": affinity() | {"nodeAffinity": {PREFERRED: {}}}},
    ],
)
def test_a_parent_of_another_kind_is_left_alone(wrong):
    assert patch(pod("c", **wrong), [volume()], spread=False) == []


def test_claims_are_found_once_and_those_that_are_made_for_a_named_pod():
    document = pod("one", "two", "one")
    document["spec"]["volumes"].append({"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}})
    assert mounted(document) == Mounted(("one", "two"))
    document["metadata"]["name"] = "web-0"
    assert mounted(document) == Mounted(("one", "two"), ("web-0-scratch",))


def test_only_so_many_claims_are_looked_at():
    assert len(mounted(pod(*(f"c{n}" for n in range(MAX_CLAIMS + 5)))).claims) == MAX_CLAIMS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
EXPRESSION = st.fixed_dictionaries(
    {}, optional={"key": st.sampled_from([label_of(A), "zone"]) | JSON, "operator": JSON}
)
TERM = st.fixed_dictionaries(
    {},
    optional={
        "weight": JSON,
        "preference": st.fixed_dictionaries({}, optional={"matchExpressions": st.lists(EXPRESSION, max_size=2) | JSON})
        | JSON,
    },
)
AFFINITY = st.fixed_dictionaries(
    {},
    optional={
        "podAffinity": JSON,
        "nodeAffinity": st.fixed_dictionaries(
            {}, optional={PREFERRED: st.lists(TERM | JSON, max_size=3) | JSON, "required": JSON}
        )
        | JSON,
    },
)
VOLUME = st.fixed_dictionaries(
    {},
    optional={
        "name": JSON,
        "ephemeral": JSON,
        "persistentVolumeClaim": st.fixed_dictionaries({}, optional={"claimName": JSON}) | JSON,
    },
)
SPEC = st.fixed_dictionaries(
    {},
    optional={
        "affinity": AFFINITY | JSON,
        "topologySpreadConstraints": JSON,
        "nodeName": JSON,
        "x/y~z": JSON,
        "volumes": st.lists(VOLUME | JSON, max_size=3) | JSON,
    },
)
POD = (
    st.fixed_dictionaries(
        {}, optional={"metadata": st.fixed_dictionaries({}, optional={"name": JSON}) | JSON, "spec": SPEC | JSON}
    )
    | JSON
)
MODELS = st.lists(
    st.builds(volume, st.sampled_from([A, B, "c" * 64]), st.integers(0, 10**15), st.sampled_from(Placement)), max_size=4
)


def keeps(before, after):
    """Tell whether everything is still there; what was nothing may be something now, and lists may be longer."""
    if before is None or before == []:
        return True
    if isinstance(before, dict):
        return isinstance(after, dict) and all(key in after and keeps(before[key], after[key]) for key in before)
    if isinstance(before, list):
        return isinstance(after, list) and len(after) >= len(before) and all(map(keeps, before, after))
    return type(before) is type(after) and before == after


@given(POD, MODELS, st.booleans())
def test_whatever_the_pod_nothing_is_lost_and_a_second_run_adds_nothing(document, models, spread):
    mounted(document)
    after = applied(document, patch(document, models, spread=spread))
    assert json.loads(json.dumps(after)) == after
    assert keeps(document, after)
    assert patch(after, models, spread=spread) == []


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=8))
def test_weights_are_what_kubernetes_allows_and_the_order_is_that_of_the_sizes(sizes):
    models = [volume(f"{n:064d}"[::-1], size) for n, size in enumerate(sizes)]
    weights = preferences(mutated(pod("c"), *models))
    assert all(1 <= weight <= 100 for weight in weights.values())
    staged = [weights[label_of(model.revision), "staged"] for model in models]
    assert sorted(staged) == [weight for _, weight in sorted(zip(sizes, staged, strict=True))]
