"""The simulated cluster is what its sizes say, and consistent."""

import json

import pytest

from bench.scale import objects
from bench.scale.audit import count, in_words, without_leases
from bench.scale.sizes import QUICK
from bench.scale.webhook import bound, buckets
from bench.scale.world import POOL, world
from csi_model.core.placement import ALL, Placement


@pytest.fixture(scope="module")
def cluster():
    return world(QUICK)


def test_every_node_has_as_many_copies_as_it_should(cluster):
    assert {len(set(copies)) for copies in cluster.copies.values()} == {QUICK.copies}


def test_our_pods_run_where_their_model_is(cluster):
    assert len(cluster.pods) == QUICK.ours
    assert all(number in cluster.copies[node] for number, node in cluster.pods)


def test_what_is_wanted_on_all_nodes_of_a_kind_is_there(cluster):
    everywhere = [model for model in cluster.models if model.wants.replicas == ALL]
    missing = [
        (model.number, node)
        for model in everywhere
        for node, kind in cluster.nodes.items()
        if model.wants.matches({POOL: kind}) and model.number not in cluster.copies[node]
    ]
    assert everywhere
    assert missing == []


def test_all_placements_occur(cluster):
    assert {model.placement for model in cluster.models} == set(Placement)


def test_a_world_is_always_the_same(cluster):
    assert world(QUICK) == cluster


def test_there_are_as_many_pods_as_there_should_be(cluster):
    pods = [*objects.our_pods(cluster), *objects.other_pods(cluster)]
    assert len({(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in pods}) == QUICK.pods


def test_a_pod_is_about_as_large_as_a_real_one(cluster):
    assert 4000 < len(json.dumps(objects.our_pods(cluster)[0])) < 7000


def test_writes_are_counted_by_verb_and_resource():
    lines = [
        b'{"verb":"patch","objectRef":{"resource":"nodes"},"responseStatus":{"code":200}}',
        b'{"verb":"patch","objectRef":{"resource":"nodes"},"responseStatus":{"code":200}}',
        b'{"verb":"patch","objectRef":{"resource":"modelvolumes","subresource":"status"}}',
        b'{"verb":"create","objectRef":{"resource":"events"},"responseStatus":{"code":403}}',
        b'{"verb":"update","objectRef":{"resource":"leases"},"responseStatus":{"code":200}}',
        b'{"verb":"patch","objectRef":{"resou',
    ]
    counts = count(lines)
    assert counts["patch nodes"] == 2
    assert counts["create events (refused)"] == 1
    assert without_leases(counts) == 4
    assert in_words(counts, 2).startswith("1 patch nodes, 0.5 ")


METRICS = """
apiserver_admission_webhook_admission_duration_seconds_bucket{name="a",operation="CREATE",le="0.005"} 90
apiserver_admission_webhook_admission_duration_seconds_bucket{name="a",operation="CREATE",le="0.025"} 99
apiserver_admission_webhook_admission_duration_seconds_bucket{name="a",operation="CREATE",le="+Inf"} 100
apiserver_admission_webhook_admission_duration_seconds_bucket{name="a",operation="DELETE",le="+Inf"} 7
"""


def test_the_api_servers_histogram_says_which_bucket_a_percentile_is_in():
    assert bound(buckets(METRICS), 99) == 0.025
    assert bound(buckets(METRICS), 90) == 0.005


def test_without_a_call_there_is_no_percentile():
    assert bound(buckets(""), 99) is None
