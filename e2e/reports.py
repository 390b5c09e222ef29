"""What is collected when a scenario fails: every log, and the state of the cluster's objects."""

import re
import secrets
from pathlib import Path

from e2e import object_store
from e2e.cluster import failures
from e2e.cluster.cluster import Cluster
from e2e.cluster.shell import CommandFailed
from e2e.driver import NAMESPACE

_OBJECTS = {
    "events.txt": ("get", "events", "-A", "--sort-by=.lastTimestamp"),
    "objects.txt": ("get", "nodes,pods,pvc,pv,storageclass,csinodes", "-A", "-o", "wide"),
    "pods.yaml": ("get", "pods,pvc,pv", "-A", "-o", "yaml"),
    "modelvolumes.yaml": ("get", "modelvolumes", "-o", "yaml"),
    "modelnodes.yaml": ("get", "modelnodes,nodes,leases.coordination.k8s.io", "-A", "-o", "yaml"),
}
_LINES = 40
_LIMIT = 10.0  # seconds for a question: the cluster may be what is broken


def collect(cluster: Cluster, test: str) -> Path:
    """Save everything in a new folder and return it."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", test)[:60].strip("-")
    folder = failures.save([*cluster.logs(), *object_store.logs()], name)
    for file, command in _OBJECTS.items():
        (folder / file).write_text(_said(cluster, *command))
    form = 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\\n"}{end}'
    for pod in _said(cluster, "get", "pods", "-A", "-o", form).split():
        namespace, _, pod_name = pod.partition("/")
        for kind, more in (("pod", []), ("ended", ["--previous"])):
            log = _said(cluster, "logs", "-n", namespace, pod_name, "--all-containers", "--prefix", *more)
            if log:
                (folder / f"{kind}-{namespace}-{pod_name}.log").write_text(log)
    return folder


def excerpt(folder: Path) -> str:
    """Return the last lines of the events and of the driver's logs."""
    files = [folder / "events.txt", *sorted(folder.glob(f"pod-{NAMESPACE}-*.log"))]
    return "\n".join(f"--- {file.name}\n" + "\n".join(_last(file)) for file in files if file.exists())


def nonce() -> str:
    """Return a few letters that make a name new."""
    return secrets.token_hex(2)


def _said(cluster: Cluster, *command: str) -> str:
    try:
        return cluster.kubectl("--request-timeout=5s", *command, check=False, timeout=_LIMIT)
    except CommandFailed as error:
        return f"{error}\n"


def _last(file: Path) -> list[str]:
    lines = [line[:400] for line in file.read_text().splitlines() if " rpc: Probe " not in line]
    return lines[-_LINES:]
