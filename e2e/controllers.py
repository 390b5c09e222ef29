"""The controllers as a scenario sees them: which of them leads, and how that one is killed."""

from e2e.cluster import programs
from e2e.driver import Driver

_LEASE, _CONTAINER = "csi-model-controller", "csi-model"


def leader(driver: Driver) -> str:
    """Return who leads, as the Lease names it: the name of its pod, and letters that are new with each start."""

    def look() -> str | None:
        lease = driver.kube.get("lease", _LEASE) or {}
        holder = str(lease.get("spec", {}).get("holderIdentity") or "")
        return holder if holder and _container(driver, holder) else None

    return driver.kube.wait_for(look, 120, "a controller leads")


def kill(driver: Driver, holder: str) -> None:
    """Kill the process of the controller that leads."""
    pod = driver.kube.get("pod", _pod(holder))
    assert pod, holder
    words = ("--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", _container(driver, holder))
    driver.cluster.node(pod["spec"]["nodeName"]).run(programs.packages().program("ctr"), *words)


def _pod(holder: str) -> str:
    return holder.partition("_")[0]


def _container(driver: Driver, holder: str) -> str:
    """Return the id of a controller's container; "" if it doesn't run."""
    status = (driver.kube.get("pod", _pod(holder)) or {}).get("status", {})
    for one in status.get("containerStatuses", []):
        if one["name"] == _CONTAINER and "running" in one["state"]:
            return str(one["containerID"]).rpartition("/")[2]
    return ""
