"""What the leader makes of what it is told, over a real socket."""

import pytest

from csi_model.core.placement import label_of
from tests.cluster.steering.world import CLAIMS, MODEL_NODES, NODES, PODS, VOLUMES, A, B, copy


def test_a_node_with_an_agent_gets_its_model_node(world, controller):
    controller()
    world.node("n1")
    world.node("other", registered=False)
    world.until(lambda: world.find(MODEL_NODES, "n1"))
    (owner,) = world.find(MODEL_NODES, "n1")["metadata"]["ownerReferences"]
    assert owner["uid"] == world.find(NODES, "n1")["metadata"]["uid"]
    assert world.find(MODEL_NODES, "other") is None


def test_a_model_node_goes_with_its_node(world, controller, server):
    controller()
    world.ready("n1")
    server.delete(f"{NODES}/n1")
    world.until(lambda: world.find(MODEL_NODES, "n1") is None)


def test_a_node_that_is_another_one_of_the_same_name_gets_a_model_node_of_its_own(world, controller, server):
    controller()
    world.ready("n1")
    old = world.find(MODEL_NODES, "n1")["metadata"]["uid"]
    server.delete(f"{NODES}/n1")
    world.node("n1")
    uid = world.find(NODES, "n1")["metadata"]["uid"]

    def renewed():
        item = world.find(MODEL_NODES, "n1")
        return item and item["metadata"]["uid"] != old and item["metadata"]["ownerReferences"][0]["uid"] == uid

    world.until(renewed)


def test_what_is_here_is_labelled_as_long_as_it_is_here(world, controller):
    controller()
    world.ready("n1")
    world.volume("v", A)
    world.says("n1", copy(A, "warming"))
    world.until(lambda: world.labels("n1") == {"a": "warming"})
    world.says("n1", copy(A))
    world.until(lambda: world.labels("n1") == {"a": "staged"})
    world.says("n1")
    world.until(lambda: world.labels("n1") == {})


def test_what_nobody_steers_by_is_not_labelled(world, controller):
    controller()
    world.ready("n1")
    world.volume("v", A, placement="any")
    world.says("n1", copy(A), copy(B))
    world.volume("w", B, claim="d")
    world.until(lambda: world.labels("n1") == {"b": "staged"})


def test_the_labels_of_several_copies_come_in_one_write(world, controller, server):
    controller(debounce=0.1)
    world.ready("n1")
    world.volume("v", A)
    world.volume("w", B, claim="d")
    world.says("n1", copy(A), copy(B))
    world.until(lambda: len(world.labels("n1")) == 2)
    assert server.requests.count(("patch", f"{NODES}/n1")) == 1


def test_a_label_that_somebody_edits_is_corrected(world, controller, server):
    controller()
    world.ready("n1")
    world.volume("v", A)
    world.says("n1", copy(A))
    world.until(lambda: world.labels("n1") == {"a": "staged"})
    for odd in ("warming", None):
        server.patch(f"{NODES}/n1", {"metadata": {"labels": {label_of(A): odd}}})
        world.until(lambda: world.labels("n1") == {"a": "staged"})
    server.patch(f"{NODES}/n1", {"metadata": {"labels": {label_of(B): "staged"}}})
    world.until(lambda: world.labels("n1") == {"a": "staged"})


def test_other_labels_stay_as_they_are(world, controller, server):
    controller()
    world.ready("n1")
    server.patch(f"{NODES}/n1", {"metadata": {"labels": {"csi-model.io/node": "n1", "zone": "a"}}})
    world.volume("v", A)
    world.says("n1", copy(A))
    world.until(lambda: world.labels("n1") == {"a": "staged"})
    labels = world.find(NODES, "n1")["metadata"]["labels"]
    assert (labels["csi-model.io/node"], labels["zone"]) == ("n1", "a")


def test_a_volume_gets_its_replicas_and_says_so(world, controller):
    controller()
    world.ready("n1", "n2", "n3")
    world.claim("c")
    world.volume("v", A, replicas="2")
    world.until(lambda: len(world.holders(A)) == 2)
    for name in world.holders(A):
        world.says(name, copy(A))
    world.until(lambda: world.status("v").get("nodes") == "2/2")
    told = world.find(CLAIMS, "c")["metadata"]["annotations"]
    world.until(lambda: "2 of 2" in world.find(CLAIMS, "c")["metadata"]["annotations"]["csi-model.io/staged"])
    assert list(told) == ["csi-model.io/staged"]


def test_replicas_go_up_and_down_while_the_volume_lives(world, controller, server):
    controller()
    world.ready("n1", "n2", "n3")
    world.volume("v", A, replicas="1")
    for replicas, count in (("1", 1), ("3", 3), ("2", 2), ("all", 3), ("0", 0)):
        server.patch(f"{VOLUMES}/v", {"spec": {"wants": {"replicas": replicas}}})
        world.until(lambda count=count: len(world.holders(A)) == count)


def test_a_new_node_gets_what_all_nodes_shall_have(world, controller):
    controller()
    world.ready("n1")
    world.volume("v", A, replicas="all", selector="gpu=h100")
    world.node("n2", labels={"gpu": "h100"})
    world.says("n2")
    world.until(lambda: world.holders(A) == {"n2"})


def test_a_node_that_is_relabelled_loses_what_it_was_to_have(world, controller, server):
    controller()
    world.node("n1", labels={"gpu": "h100"})
    world.says("n1")
    world.ready("n2")
    world.volume("v", A, replicas="all", selector="gpu=h100")
    world.until(lambda: world.holders(A) == {"n1"})
    server.patch(f"{NODES}/n1", {"metadata": {"labels": {"gpu": None}}})
    server.patch(f"{NODES}/n2", {"metadata": {"labels": {"gpu": "h100"}}})
    world.until(lambda: world.holders(A) == {"n2"})


def test_a_volume_that_is_gone_is_wanted_nowhere(world, controller, server):
    controller()
    world.ready("n1", "n2")
    world.volume("v", A, replicas="2")
    world.until(lambda: len(world.holders(A)) == 2)
    server.delete(f"{VOLUMES}/v")
    world.until(lambda: not world.holders(A))


def test_a_lost_copy_is_wanted_still(world, controller):
    controller()
    world.ready("n1")
    world.volume("v", A, replicas="1")
    world.until(lambda: "a" in world.wanted("n1"))
    world.says("n1", copy(A))
    world.until(lambda: world.labels("n1") == {"a": "staged"})
    world.says("n1")
    world.until(lambda: world.labels("n1") == {})
    assert "a" in world.wanted("n1")


def test_a_pod_on_a_node_without_the_copy_is_an_urgent_want(world, controller, server):
    controller()
    world.ready("n1", "n2")
    world.volume("v", A)
    world.pod("p", "c", node="n2")
    world.until(lambda: "a" in world.wanted("n2"))
    assert world.wanted("n2")["a"].urgent
    server.delete(f"{PODS}/p")
    world.until(lambda: not world.holders(A))


def test_a_pod_that_has_ended_wants_nothing(world, controller, server):
    controller()
    world.ready("n1")
    world.volume("v", A)
    world.pod("p", "c", node="n1")
    world.until(lambda: "a" in world.wanted("n1"))
    server.patch(f"{PODS}/p", {"status": {"phase": "Succeeded"}})
    world.until(lambda: not world.holders(A))


def test_a_claim_that_a_pod_makes_for_itself_counts(world, controller, server):
    controller()
    world.ready("n1")
    world.volume("v", A, claim="p-model")
    ephemeral = {"name": "model", "ephemeral": {"volumeClaimTemplate": {}}}
    server.create(PODS, {"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "volumes": [ephemeral]}})
    world.until(lambda: "a" in world.wanted("n1"))


def test_a_strict_volume_is_staged_somewhere_although_nobody_asked(world, controller):
    controller()
    world.ready("n1", "n2")
    world.volume("v", A, placement="require")
    world.until(lambda: len(world.holders(A)) == 1)


def test_a_strict_volume_goes_where_the_waiting_pod_can_go(world, controller, server):
    controller()
    world.ready("n1", "n2", "n3")
    server.patch(f"{NODES}/n3", {"metadata": {"labels": {"gpu": "h100"}}})
    world.pod("p", "c", nodeSelector={"gpu": "h100"})
    world.volume("v", A, placement="require")
    world.until(lambda: "n3" in world.holders(A))


def test_a_cordoned_node_is_no_help_to_who_waits(world, controller, server):
    controller()
    world.ready("n1", "n2")
    world.volume("v", A, placement="require")
    world.until(lambda: len(world.holders(A)) == 1)
    (first,) = world.holders(A)
    world.says(first, copy(A))
    server.patch(f"{NODES}/{first}", {"spec": {"unschedulable": True}})
    world.pod("p", "c")
    world.until(lambda: world.holders(A) - {first})


class TestEviction:
    """Of copies that pods are steered to strictly."""

    @pytest.fixture(autouse=True)
    def staged(self, world, controller):
        controller(evict_grace=0.3)
        world.ready("n1", "n2")
        world.volume("v", A, placement="require")
        world.until(lambda: len(world.holders(A)) == 1)
        self.wanted = min(world.holders(A))
        self.other = ({"n1", "n2"} - {self.wanted}).pop()
        world.says(self.other, copy(A))
        world.says(self.wanted, copy(A))
        world.until(lambda: world.labels(self.other) == {"a": "staged"} and world.guards(self.other) == {"a": "Keep"})
        world.until(lambda: len(world.holders(A)) == 1)
        self.wanted = min(world.holders(A))
        self.other = ({"n1", "n2"} - {self.wanted}).pop()

    def test_the_label_goes_first_then_leave_is_given(self, world):
        world.says(self.other, copy(A, leaving=True))
        world.until(lambda: world.labels(self.other) == {})
        world.until(lambda: world.guards(self.other)["a"] != "Keep")
        world.until(lambda: world.guards(self.other) == {"a": "Released"})
        world.says(self.other)
        world.until(lambda: world.guards(self.other) == {})

    def test_a_pod_that_is_bound_meanwhile_keeps_it(self, world):
        world.says(self.other, copy(A, leaving=True))
        world.until(lambda: world.guards(self.other)["a"] == "Withdrawn")
        world.pod("p", "c", node=self.other)
        world.until(lambda: world.guards(self.other) == {"a": "Keep"} and world.labels(self.other) == {"a": "staged"})

    def test_what_is_wanted_there_is_not_given_away(self, world):
        world.says(self.wanted, copy(A, leaving=True))
        world.says(self.other, copy(A, leaving=True))
        world.until(lambda: world.guards(self.other) == {"a": "Released"})
        assert world.guards(self.wanted) == {"a": "Keep"}
        assert world.labels(self.wanted) == {"a": "staged"}


def test_a_silent_node_counts_for_nothing_until_it_speaks_again(world, controller):
    controller(silent_after=0.5)
    world.ready("n1")
    world.volume("v", A)
    world.says("n1", copy(A))
    world.until(lambda: world.labels("n1") == {"a": "staged"})
    world.until(lambda: world.labels("n1") == {})
    world.says("n1", copy(A))
    world.until(lambda: world.labels("n1") == {"a": "staged"})


def test_the_taint_goes_when_the_agent_is_up_and_other_taints_stay(world, controller):
    controller(not_ready_taint=True)
    ours, others = {"key": "csi-model.io/agent-not-ready", "effect": "NoSchedule"}, {"key": "x", "effect": "NoExecute"}
    world.node("n1", taints=[others, ours])
    world.until(lambda: world.find(MODEL_NODES, "n1"))
    assert world.find(NODES, "n1")["spec"]["taints"] == [others, ours]
    world.says("n1")
    world.until(lambda: world.find(NODES, "n1")["spec"]["taints"] == [others])


def test_the_taint_stays_unless_it_is_ours_to_take_away(world, controller):
    controller()
    world.node("n1", taints=[{"key": "csi-model.io/agent-not-ready", "effect": "NoSchedule"}])
    world.says("n1")
    world.volume("v", A)
    world.says("n1", copy(A))
    world.until(lambda: world.labels("n1") == {"a": "staged"})
    assert len(world.find(NODES, "n1")["spec"]["taints"]) == 1


def test_somebody_elses_annotation_is_left_alone(world, controller, server):
    controller()
    world.ready("n1")
    server.create(CLAIMS, {"metadata": {"name": "c", "uid": "another one"}})
    world.volume("v", A, replicas="1")
    world.until(lambda: ("patch", f"{CLAIMS}/c") in server.requests)
    world.until(lambda: world.status("v"))
    assert "annotations" not in world.find(CLAIMS, "c")["metadata"]
