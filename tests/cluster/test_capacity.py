"""How much room the controller says a node has."""

import pytest

from csi_model.cluster import model_node
from csi_model.cluster.capacity import capacity_in
from csi_model.core.copies import NodeReport

REPORT = NodeReport(total=100, used=40, available=30, evictable=12)


@pytest.fixture
def capacity(server, api):
    status = model_node.render_status(REPORT, generation=1, now=0.0, version="1")
    head = {"apiVersion": "csi-model.io/v1alpha1", "kind": "ModelNode"}
    server.create(model_node.PATH, {**head, "metadata": {"name": "spoke"}, "spec": {}})
    api.merge_patch(f"{model_node.PATH}/spoke/status", {"status": status})
    server.create(model_node.PATH, {**head, "metadata": {"name": "silent"}, "spec": {}})
    return capacity_in(lambda: api)


def test_a_nodes_room_is_what_is_free_and_what_could_be_evicted(capacity):
    assert capacity("spoke") == 42


@pytest.mark.parametrize("node", ["silent", "unknown", "", "../modelvolumes", "a/status"])
def test_a_node_that_says_nothing_has_none(capacity, node):
    assert capacity(node) == 0
