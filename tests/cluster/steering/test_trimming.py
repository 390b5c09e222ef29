import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csi_model.cluster.facts import Requirement, Taint, Toleration
from csi_model.cluster.steering.fitting import usable
from csi_model.cluster.steering.pods import trim_pod
from csi_model.cluster.trimming import seconds_of, trim_node, trim_volume, version_of
from csi_model.core.placement import ALL, Placement, Wants
from tests.cluster.steering.places import node
from tests.cluster.steering.world import A, node_item, pod_item, volume_item

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def volume_of(**spec):
    item = volume_item("v", A, **spec)
    return trim_volume({**item, "metadata": {**item["metadata"], "generation": 3, "uid": "u"}}).facts


def pod_of(*claims, **spec):
    item = pod_item("p", *claims, **spec)
    return trim_pod({**item, "metadata": {**item["metadata"], "namespace": "team", "uid": "u"}})


def test_of_a_volume_what_steering_needs_is_kept():
    found = volume_of(placement="require", replicas="all", selector="gpu=h100")
    assert (found.revision, found.placement, found.generation) == (A, Placement.REQUIRE, 3)
    assert found.wants == Wants(ALL, (("gpu", "h100"),), False)
    assert (found.claim.namespace, found.claim.name, found.claim.uid) == ("team", "c", "uid-c")


@pytest.mark.parametrize(
    ("auth", "warmable"), [("anonymous", True), ("ambient", True), ("secret", False), (None, False)]
)
def test_what_needs_a_secret_can_not_be_brought_ahead(auth, warmable):
    assert volume_of(auth=auth).warmable is warmable


def test_an_object_of_an_older_version_wants_what_it_was_made_with():
    context = {"auth": "ambient", "placement": "require", "warmReplicas": "2", "warmNodeSelector": "a=b", "pin": "true"}
    item = {"metadata": {"name": "v"}, "spec": {"revision": A, "bytes": 1, "context": context}}
    found = trim_volume(item).facts
    assert (found.placement, found.wants) == (Placement.REQUIRE, Wants(2, (("a", "b"),), True))


def test_wants_that_make_no_sense_are_those_that_it_was_made_with():
    item = volume_item("v", A)
    item["spec"] |= {"wants": {"replicas": "many"}, "context": {"warmReplicas": "3"}}
    assert trim_volume(item).facts.wants.replicas == 3


@pytest.mark.parametrize("odd", [{"bytes": -1}, {"bytes": "7"}, {"revision": 7}, {"placement": "never"}, {"claim": 7}])
def test_a_volume_that_is_damaged_is_none(odd):
    item = volume_item("v", A)
    item["spec"] |= odd
    assert trim_volume(item) is None


def test_of_a_node_what_steering_needs_is_kept():
    item = node_item("n1", taints=[{"key": "x", "effect": "NoSchedule"}], unschedulable=True)
    item["metadata"] |= {"uid": "u", "resourceVersion": "17"}
    found = trim_node(item)
    assert (found.name, found.uid, found.schedulable, found.registered, found.version) == ("n1", "u", False, True, 17)
    assert found.taints == (Taint("x", "", "NoSchedule"),)


@pytest.mark.parametrize("annotation", ["{}", '{"ebs.csi.aws.com": "n1"}', "", None, "{", "7", "[" * 100_000])
def test_a_node_without_our_agent_is_not_registered(annotation):
    item = node_item("n1", registered=False)
    item["metadata"] |= {"uid": "u", "annotations": {"csi.volume.kubernetes.io/nodeid": annotation}}
    assert not trim_node(item).registered


@pytest.mark.parametrize(("version", "number"), [("17", 17), ("x", 0), (None, 0), (17, 0), ("9" * 40, 0)])
def test_a_version_is_a_number_or_unknown(version, number):
    assert version_of({"metadata": {"resourceVersion": version}}) == number


@pytest.mark.parametrize("text", ["2030-01-01T00:00:00Z", "2030-01-01T00:00:00.000000Z"])
def test_a_time_is_read(text):
    assert seconds_of(text) == 1893456000


@pytest.mark.parametrize("text", ["soon", None, 7, "", "9" * 30])
def test_a_time_that_is_none_is_long_ago(text):
    assert seconds_of(text) == 0


def test_a_pod_without_claims_or_with_its_work_done_is_of_no_interest():
    assert pod_of() is None
    done = pod_item("p", "c")
    done["status"]["phase"] = "Failed"
    assert trim_pod({**done, "metadata": {"namespace": "team", "name": "p", "uid": "u"}}) is None


def test_of_a_pod_what_steering_needs_is_kept():
    terms = [{"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["h100"]}],
              "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]  # fmt: skip
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    found = pod_of(
        "c", "d", "c", nodeSelector={"zone": "a"}, affinity={"nodeAffinity": required},
        tolerations=[{"key": "x", "operator": "Exists"}], schedulingGates=[{"name": "g"}],
    )  # fmt: skip
    assert (found.claims, found.node, found.gated) == (("c", "d"), "", True)
    assert found.affinity == ((Requirement("gpu", "In", ("h100",)), Requirement("metadata.name", "In", ("n1",))),)
    assert found.tolerations == (Toleration("x", exists=True),)


def test_a_term_that_says_nothing_matches_no_node():
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}
    assert not usable(pod_of("c", affinity={"nodeAffinity": required}), node("n1"))


def test_pods_that_are_alike_share_what_they_have_alike():
    one, other = (pod_of("c", tolerations=[{"key": "x", "operator": "Exists"}]) for _ in range(2))
    assert one.tolerations is other.tolerations


@settings(deadline=None)
@given(ANY_JSON, st.sampled_from(["metadata", "spec", "status"]))
def test_nothing_that_is_no_object_raises(odd, where):
    for trim, item in ((trim_volume, volume_item("v")), (trim_node, node_item("n")), (trim_pod, pod_item("p", "c"))):
        trim({**item, where: odd})
        trim({where: odd})


@settings(deadline=None)
@given(st.data())
def test_nothing_inside_of_an_object_raises(data):
    for trim, item in ((trim_volume, volume_item("v")), (trim_node, node_item("n")), (trim_pod, pod_item("p", "c"))):
        odd = json.loads(json.dumps(item))
        part = odd[data.draw(st.sampled_from(sorted(odd)))]
        if part:
            part[data.draw(st.sampled_from(sorted(part)))] = data.draw(ANY_JSON)
        trim(odd)
