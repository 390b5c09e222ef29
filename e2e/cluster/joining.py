"""A node that joins a cluster that is up, and leaves it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from e2e.cluster import images, network, node_files
from e2e.cluster.cluster import GIBIBYTE, Cluster
from e2e.cluster.node import Node


@contextmanager
def joined(cluster: Cluster, more: Sequence[str], taints: Sequence[Mapping[str, str]] = ()) -> Iterator[Node]:
    """Yield a node more, Ready; at the end it is gone, its Node object too.

    Args:
        cluster: that it joins.
        more: images that the first node has, to be copied before it starts.
        taints: which it has when it registers.

    """
    others = [node.number for node in cluster.nodes]
    number = max(others) + 1
    node = Node(number, [*others, number], cluster.pki)
    _remove(cluster, node, others)  # what an interrupted run left
    try:
        cluster.pki.add(number)
        node.make(GIBIBYTE, taints)
        network.join(number, others)
        node.boot()
        node.start_containerd()
        for image in (images.pause(), images.busybox()):
            node.load(image)
        for reference in more:
            node.take(cluster.nodes[0], reference)
        cluster.nodes.append(node)
        node.start_kubelet()
        cluster.wait_ready()
        yield node
    finally:
        _remove(cluster, node, others)


def _remove(cluster: Cluster, node: Node, others: Sequence[int]) -> None:
    cluster.nodes[:] = [one for one in cluster.nodes if one.number != node.number]
    node.kill()
    network.leave(node.number, others)
    node_files.remove(node.folder)
    cluster.kubectl("delete", "node", node.name, "--ignore-not-found")
