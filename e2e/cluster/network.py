"""The cluster's network: a bridge in the control plane's namespace, a cable to each node, one to the tests.

There is no NAT and no kube-proxy. The bridge also has the address of the Service `kubernetes`, and everybody's default
route leads there: in-cluster clients reach the API server. Other Services have no address that answers.
"""

from collections.abc import Iterable

from e2e.cluster import place
from e2e.cluster.shell import run

_BRIDGE = "02:00:0a:d2:00:01"


def make(nodes: Iterable[int]) -> None:
    """Make the control plane's namespace, its bridge and the tests' cable; CommandFailed."""
    _ip("netns", "add", place.CONTROL_PLANE)
    _in(place.CONTROL_PLANE, "link", "set", "lo", "up")
    # An address of its own: else it has one of its cables', and nobody finds it for a while when that one goes
    _in(place.CONTROL_PLANE, "link", "add", "br0", "address", _BRIDGE, "type", "bridge")
    _in(place.CONTROL_PLANE, "addr", "add", f"{place.CLUSTER_IP}/24", "dev", "br0")
    _in(place.CONTROL_PLANE, "addr", "add", f"{place.SERVICE_IP}/32", "dev", "br0")
    _in(place.CONTROL_PLANE, "link", "set", "br0", "up")
    _ip("link", "add", place.HOST_INTERFACE, "type", "veth", "peer", "name", "h0", "netns", place.CONTROL_PLANE)
    _in(place.CONTROL_PLANE, "link", "set", "h0", "master", "br0", "up")
    _ip("addr", "add", f"{place.HOST_IP}/24", "dev", place.HOST_INTERFACE)
    _ip("link", "set", place.HOST_INTERFACE, "up")
    for number in nodes:
        _lead_to(number)


def join(number: int, others: Iterable[int]) -> None:
    """Tell everybody the way to the pods of a node that joins; CommandFailed."""
    _lead_to(number)
    for other in others:
        _in(place.node_namespace(other), "route", "add", place.pod_network(number), "via", place.node_ip(number))


def leave(number: int, others: Iterable[int]) -> None:
    """Let everybody forget the way to the pods of a node that is gone."""
    network = place.pod_network(number)
    run("ip", "-n", place.CONTROL_PLANE, "route", "del", network, check=False)
    run("ip", "route", "del", network, check=False)
    for other in others:
        run("ip", "-n", place.node_namespace(other), "route", "del", network, check=False)


def make_node(number: int, nodes: Iterable[int]) -> None:
    """Make a node's namespace and plug it in; CommandFailed."""
    namespace = place.node_namespace(number)
    _ip("netns", "add", namespace)
    _in(place.CONTROL_PLANE, "link", "add", f"n{number}", "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _in(place.CONTROL_PLANE, "link", "set", f"n{number}", "master", "br0", "up")
    _in(namespace, "link", "set", "lo", "up")
    _in(namespace, "addr", "add", f"{place.node_ip(number)}/24", "dev", "eth0")
    _in(namespace, "link", "set", "eth0", "up")
    _in(namespace, "route", "add", "default", "via", place.CLUSTER_IP)
    for other in nodes:
        if other != number:
            _in(namespace, "route", "add", place.pod_network(other), "via", place.node_ip(other))


def remove_node(number: int) -> None:
    """Unplug a node and remove its namespace, if there is one."""
    # The cable first: namespaces are taken apart in the background, and a new node would find its cable's name taken
    run("ip", "-n", place.CONTROL_PLANE, "link", "del", f"n{number}", check=False)
    run("ip", "netns", "del", place.node_namespace(number), check=False)


def remove() -> None:
    """Remove every namespace and interface that has our names."""
    run("ip", "link", "del", place.HOST_INTERFACE, check=False)
    for namespace in namespaces():
        run("ip", "netns", "del", namespace, check=False)


def namespaces() -> list[str]:
    listed = (line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.strip())
    return [name for name in listed if name.startswith(f"{place.PREFIX}-")]


def processes() -> list[int]:
    """Return the pids of those who are in our namespaces."""
    return [int(pid) for namespace in namespaces() for pid in run("ip", "netns", "pids", namespace).split()]


def _lead_to(number: int) -> None:
    _in(place.CONTROL_PLANE, "route", "add", place.pod_network(number), "via", place.node_ip(number))
    _ip("route", "add", place.pod_network(number), "via", place.node_ip(number), "dev", place.HOST_INTERFACE)


def _ip(*arguments: str) -> None:
    run("ip", *arguments)


def _in(namespace: str, *arguments: str) -> None:
    run("ip", "-n", namespace, *arguments)
