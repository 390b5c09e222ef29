"""The node agent as a scenario sees it: what it holds and brings, how it is killed, what it leaves behind."""

import json
from typing import Any

from e2e.cluster import programs
from e2e.driver import NAMESPACE as RELEASE_NAMESPACE
from e2e.kube import Kube, Object
from e2e.volumes import agent_name, agent_on

CLEANED_UP = 240.0  # seconds; kubelet unstages when its NodeStage call ends, which takes two minutes at most
RUNS_AGAIN = 330.0  # seconds; kubelet waits five minutes at most with a container that has ended often, of late


def status(kube: Kube, node: str) -> Object:
    """Return what `csi-model status --json` says in the agent's pod of a node, once that can be asked."""

    def look() -> Object | None:
        agent = agent_name(kube, node)
        said = kube.inside(RELEASE_NAMESPACE).execute(agent, "csi-model", "status", "--json", check=False)
        return json.loads(said) if said else None

    return kube.wait_for(look, 120, f"the agent of {node} tells its status")


def volume_of(kube: Kube, claim: str) -> tuple[str, str]:
    """Return the PersistentVolume that a claim is bound to, by name, and its volume id."""

    def look() -> tuple[str, str] | None:
        name = (kube.get("pvc", claim) or {}).get("spec", {}).get("volumeName")
        volume = kube.get("pv", name) if name else None
        return (name, volume["spec"]["csi"]["volumeHandle"]) if volume else None

    return kube.wait_for(look, 120, lambda: f"claim {claim} is bound. {kube.story('pvc', claim)}")


def kill(kube: Kube, node: str) -> None:
    """Kill the agent's process on a node, and wait until its container runs again."""
    pod = agent_on(kube, node)
    name, before = pod["metadata"]["name"], running_container(pod)
    ctr = programs.packages().program("ctr")
    kube.cluster.node(node).run(ctr, "--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", before)
    release = kube.inside(RELEASE_NAMESPACE)
    release.wait_for(
        lambda: running_container(release.get("pod", name)) not in ("", before), RUNS_AGAIN, f"{name} runs again"
    )


def mounts_of(kube: Kube, node: str, pod: Object) -> list[str]:
    """Return what is mounted for a pod on a node, as lines of the node's mount table."""
    table = kube.cluster.node(node).run("cat", "/proc/1/mountinfo")
    return [line for line in table.splitlines() if pod["metadata"]["uid"] in line]


def wait_nothing_left(kube: Kube, node: str, pod: Object, volume_id: str) -> None:
    """Wait until a node has no mount and no directory of a pod, and no hold of its volume; TookTooLong."""
    name = pod["metadata"]["name"]
    kube.wait_for(
        lambda: not _leftovers(kube, node, pod, volume_id),
        CLEANED_UP,
        lambda: f"nothing is left of {name} on {node}: {_leftovers(kube, node, pod, volume_id)}",
    )


def _leftovers(kube: Kube, node: str, pod: Object, volume_id: str) -> list[Any]:
    directory = kube.cluster.node(node).path(f"/var/lib/kubelet/pods/{pod['metadata']['uid']}")
    holds = [hold for hold in status(kube, node)["holds"] if hold["volume_id"] == volume_id]
    return [*mounts_of(kube, node, pod), *([str(directory)] if directory.exists() else []), *holds]


def running_container(pod: Object | None) -> str:
    """Return the id of a pod's one container; "" if it doesn't run."""
    for one in (pod or {}).get("status", {}).get("containerStatuses", []):
        if "running" in one["state"]:
            return str(one["containerID"]).rpartition("/")[2]
    return ""


def evict_unused(kube: Kube, node: str) -> None:
    """Let a node evict what nothing holds."""
    agent = agent_name(kube, node)
    kube.inside(RELEASE_NAMESPACE).execute(agent, "csi-model", "evict", "unused", "--yes")
