"""A small cluster on the fake API server: nodes, what their agents say, volumes, pods; and what came of it."""

import json
from time import monotonic

from csi_model.cluster import model_node
from csi_model.cluster.model_node import render_status
from csi_model.core.copies import Copy, NodeReport
from csi_model.core.warmth import Warmth

NODES, PODS = "/api/v1/nodes", "/api/v1/namespaces/team/pods"
VOLUMES = "/apis/csi-model.io/v1alpha1/modelvolumes"
MODEL_NODES = "/apis/csi-model.io/v1alpha1/modelnodes"
CLAIMS = "/api/v1/namespaces/team/persistentvolumeclaims"
GB = 10**9
A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def label(revision):
    return f"csi-model.io/m-{revision[:40]}"


def node_item(name, *, registered=True, labels=None, **spec):
    annotations = {"csi.volume.kubernetes.io/nodeid": json.dumps({"csi-model.io": name})} if registered else {}
    labels = {"kubernetes.io/hostname": name, **(labels or {})}
    return {"metadata": {"name": name, "labels": labels, "annotations": annotations}, "spec": spec}


def volume_item(
    name, revision=A, *, placement="prefer", replicas="0", selector="", claim="c", auth="anonymous", **spec
):
    return {
        "metadata": {"name": name},
        "spec": {
            "revision": revision, "bytes": 10 * GB, "source": f"s3://models/{revision[:3]}", "placement": placement,
            "wants": {"replicas": replicas, "nodeSelector": selector, "pin": False}, "context": {"auth": auth},
            "claim": {"namespace": "team", "name": claim, "uid": f"uid-{claim}"} if claim else None,
            "manifest": "x" * 1000, **spec,
        },
    }  # fmt: skip


def pod_item(name, *claims, node="", **spec):
    volumes = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    bound = {"nodeName": node} if node else {}
    return {"metadata": {"name": name}, "spec": {"volumes": volumes, **bound, **spec}, "status": {"phase": "Pending"}}


def copy(revision, warmth="staged", **more):
    present = {"staged": 10 * GB, "warming": 4 * GB, "cold": 0}[warmth]
    return Copy(revision, Warmth(warmth), 10 * GB, present=more.pop("present", present), **more)


class World:
    def __init__(self, server):
        self.server = server
        self.beats = 1e9

    def node(self, name, **how):
        self.server.create(NODES, node_item(name, **how))

    def volume(self, name, revision=A, **how):
        self.server.create(VOLUMES, volume_item(name, revision, **how))

    def claim(self, name):
        self.server.create(CLAIMS, {"metadata": {"name": name, "uid": f"uid-{name}"}})

    def pod(self, name, *claims, **how):
        self.server.create(PODS, pod_item(name, *claims, **how))

    def says(self, name, *copies, available=1000 * GB, evictable=0):
        """Let a node's agent report, as soon as it has a ModelNode."""
        self.until(lambda: self.find(MODEL_NODES, name))
        self.beats += 1
        report = NodeReport(2000 * GB, 0, available, evictable, copies)
        status = render_status(report, generation=1, now=self.beats, version="1")
        self.server.objects.patch(
            "/apis/csi-model.io/v1alpha1|modelnodes", "", name, {"status": status}, subresource="status"
        )

    def ready(self, *names, **store):
        """Make nodes with an agent that has nothing yet."""
        for name in names:
            self.node(name)
        for name in names:
            self.says(name, **store)

    def find(self, path, name):
        return next((item for item in self.server.all(path) if item["metadata"]["name"] == name), None)

    def labels(self, name):
        """Return the labels of revisions: the first digit of each, and its value."""
        labels = self.find(NODES, name)["metadata"].get("labels") or {}
        return {key[15]: value for key, value in labels.items() if key.startswith("csi-model.io/m-")}

    def wanted(self, name):
        item = self.find(MODEL_NODES, name)
        return {} if item is None else {it.revision[0]: it for it in model_node.parse_orders(item).wanted}

    def holders(self, revision):
        """Return the nodes that are told to have a revision."""
        return {
            item["metadata"]["name"]
            for item in self.server.all(MODEL_NODES)
            if any(it.revision == revision for it in model_node.parse_orders(item).wanted)
        }

    def guards(self, name):
        item = self.find(MODEL_NODES, name)
        return {revision[0]: it.value for revision, it in model_node.parse_orders(item).guarded.items()}

    def status(self, name):
        return self.find(VOLUMES, name).get("status") or {}

    def until_other(self, true, timeout=20):
        """Wait for something to become true that no change of an object tells of."""
        with self.server.objects.changed:
            end = monotonic() + timeout
            while not true():
                assert monotonic() < end
                self.server.objects.changed.wait(0.01)

    def until(self, true, timeout=20):
        """Wait for something to become true of the objects."""
        with self.server.objects.changed:
            assert self.server.objects.changed.wait_for(true, timeout)
