"""Names and addresses of everything that a cluster leaves on the machine while it is up, so that a sweep finds it."""

from pathlib import Path

STATE = Path("/var/tmp/csi-model-e2e")
"""All files of the cluster; outside /run, /var/lib and /var/log, where a node has its own."""

PREFIX = "csi-e2e"
CONTROL_PLANE = f"{PREFIX}-cp"  # network namespace
HOST_INTERFACE = f"{PREFIX}-h"

CLUSTER_IP = "10.210.0.1"  # control plane, object store, everybody's default gateway
HOST_IP = "10.210.0.254"  # the tests' end
SERVICE_IP = "10.96.0.1"  # kubernetes.default.svc
SERVICE_NETWORK = "10.96.0.0/16"
MOST_NODES = 9


def node_name(number: int) -> str:
    return f"node{number}"


def node_namespace(number: int) -> str:
    return f"{PREFIX}-n{number}"


def node_ip(number: int) -> str:
    return f"10.210.0.1{number}"


def pod_network(number: int) -> str:
    return f"10.244.{number}.0/24"


def namespace_file(namespace: str) -> str:
    return f"/run/netns/{namespace}"
