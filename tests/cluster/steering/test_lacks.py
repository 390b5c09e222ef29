"""Why fewer nodes are wanted than a volume asks for, in words."""

from csi_model.cluster.steering.wanting import choose
from csi_model.core.placement import ALL
from tests.cluster.steering.places import GB, SIZES, A, cluster, demand, node, pod, volume, warming

H100 = {"gpu": "h100"}
SELECTOR = (("gpu", "h100"),)


def lacking(wanted, *nodes, allowed=None):
    return choose(wanted, cluster(*nodes), SIZES, allowed or {}).lacking


def test_no_node_has_room():
    nodes = (node("n1", available=GB, labels=H100), node("n2", available=2 * GB, labels=H100))
    words = lacking(demand(volume(replicas=1, selector=SELECTOR)), *nodes)
    assert words == "no node of the 2 that match gpu=h100 has room for 10.0 GB: the most is 2.00 GB on n2"


def test_some_nodes_have_none():
    nodes = (node("n1", available=GB), node("n2", A))
    words = lacking(demand(volume(replicas=ALL)), *nodes)
    assert words == "1 of the 2 nodes has room for 10.0 GB, 2 are wanted: the most is 1.00 GB on n1"


def test_too_few_nodes_match():
    nodes = (
        node("n1", labels=H100),
        node("n2", labels=H100, schedulable=False),
        node("n3", labels=H100, alive=False),
    )
    words = lacking(demand(volume(replicas=3, selector=SELECTOR)), *nodes)
    assert words == "1 node matches gpu=h100 (1 more is cordoned, 1 more is silent), 3 are wanted"


def test_too_few_nodes_at_all():
    assert lacking(demand(volume(replicas=2)), node("n1")) == "1 node can be used, 2 are wanted"


def test_no_node_matches():
    words = lacking(demand(volume(replicas=1, selector=SELECTOR)), node("n1", labels=H100, alive=False))
    assert words == "no node matches gpu=h100 (1 is silent), 1 is wanted"


def test_the_quota_is_used_up():
    choice = choose(
        demand(volume(replicas=3, namespace="x")),
        cluster(*(node(f"n{n}") for n in range(3))),
        SIZES,
        {"x": 25 * GB},
    )
    assert (len(choice.wanted), choice.replicas) == (2, 3)
    assert choice.lacking == "the quota of namespace x leaves 5.00 GB, a copy more has 10.0 GB"


def test_what_is_there_already_costs_no_quota():
    nodes = (node("n1", A), node("n2", wanted=[A]), node("n3", warming(A)))
    assert lacking(demand(volume(replicas=3, namespace="x")), *nodes, allowed={"x": 0}) == ""


def test_what_another_namespace_brings_costs_no_quota():
    volumes = (volume(replicas=1, namespace="x", name="m-1"), volume(replicas=1, namespace="y", name="m-2"))
    assert lacking(demand(*volumes), node("n1"), allowed={"y": 0}) == ""


def test_a_waiting_pods_namespace_pays():
    strict = demand(volume(placement="require", namespace="team"), waiting=[pod()])
    assert "quota of namespace team" in lacking(strict, node("n1"), allowed={"team": GB})
