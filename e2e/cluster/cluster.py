"""The whole cluster: up, used, and gone without a trace."""

import json
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster import controlplane, failures, images, lock, network, place, programs, requirements, sweep, traces
from e2e.cluster.images import Image
from e2e.cluster.node import KUBELET_PORT, Node
from e2e.cluster.pki import Pki
from e2e.cluster.shell import answers, run, until

GIBIBYTE = 1024**3
_FACTS = place.STATE / "cluster.json"
_KEPT = place.STATE / "kept"


class Unfit(Exception):
    """No cluster can run here; the text says what is missing."""


class Traces(Exception):
    """Something is left on the machine; the text says what."""


class Cluster:
    """A cluster that is up."""

    def __init__(self, nodes: Sequence[int]) -> None:
        self.pki = Pki(place.STATE / "pki")
        self.nodes = [Node(number, nodes, self.pki) for number in nodes]
        self.kubeconfig = self.pki.kubeconfig("admin")

    def node(self, name: int | str) -> Node:
        """Return a node by number or by name."""
        return next(node for node in self.nodes if name in (node.number, node.name))

    def kubectl(self, *arguments: str | Path, timeout: float = 60.0, stdin: str = "", check: bool = True) -> str:
        """Run kubectl as the cluster's administrator; CommandFailed."""
        command = [programs.kubernetes()["kubectl"], f"--kubeconfig={self.kubeconfig}", *arguments]
        return run(*command, timeout=timeout, stdin=stdin, check=check)

    def load(self, image: Image) -> None:
        """Import an image on every node that hasn't it yet."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.load(image), self.nodes))

    def wait_ready(self, timeout: float = 180) -> None:
        """Wait until every node is Ready; TookTooLong."""
        wanted = {node.name for node in self.nodes}
        until(lambda: wanted <= self._ready(), f"nodes {sorted(wanted)} are Ready", timeout, pause=0.2)

    def _ready(self) -> set[str]:
        form = '{range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
        said = self.kubectl("get", "nodes", "-o", f"jsonpath={form}", check=False)
        return {line.partition("=")[0] for line in said.splitlines() if line.endswith("=True")}

    def logs(self) -> list[Path]:
        """Return the log files of the control plane and of the nodes."""
        return [*controlplane.logs(), *(log for node in self.nodes for log in node.logs())]


def check() -> None:
    """See that the machine has what a cluster needs; Unfit."""
    if lacking := requirements.missing():
        raise Unfit("a cluster can't run here; missing: " + "; ".join(lacking))


@contextmanager
def running(count: int = 3, *, keep: bool = False, disk: int = 3 * GIBIBYTE) -> Iterator[Cluster]:
    """Yield a cluster.

    Args:
        count: number of nodes, 1 to 9.
        keep: leave it up afterwards, and take the one that is up, if there is one.
        disk: bytes of each node's disk for the store.

    Raises:
        Unfit: the machine lacks something.
        InUse: somebody else has it.
        NotFetched, CommandFailed, TookTooLong: it didn't come up.
        Traces: something is left; not raised over another exception.

    """
    check()
    with lock.opened() as held:
        if not keep:
            held.alone()
        elif found := _shared(held):
            yield found
            return
        with _made(count, disk, keep=keep) as made:
            if keep:
                held.wait_shared()
            yield made


def _shared(held: lock.Lock) -> "Cluster | None":
    """Return the cluster that is up, the lock held together with others; else None, the lock held alone."""
    if others := lock.users():
        _say(f"the cluster is shared with, or waited for: {'; '.join(others)}")
    held.wait_shared()
    if found := _found():
        if not others:
            _mend(found)
        return found
    held.wait_alone()  # lets go of it first: somebody may have been faster
    if found := _found():
        held.wait_shared()
    return found


@contextmanager
def _made(count: int, disk: int, *, keep: bool) -> Iterator[Cluster]:
    before = traces.sysctls()
    sweep.sweep()
    cluster = Cluster(range(1, count + 1))
    kept = False
    try:
        _bring_up(cluster, disk)
        if keep:
            _KEPT.touch()
            kept = True
        yield cluster
    except Exception:
        if not kept:
            _say(f"logs are in {failures.save(cluster.logs(), 'cluster')}")
        raise
    finally:
        if not kept:
            _remove(before)


def _bring_up(cluster: Cluster, disk: int) -> None:
    _say(f"making a cluster of {len(cluster.nodes)} nodes in {place.STATE}")
    wanted = [images.pause(), images.busybox()]
    programs.kubernetes(), programs.etcd()
    numbers = [node.number for node in cluster.nodes]
    cluster.pki.make(numbers)
    network.make(numbers)
    with ThreadPoolExecutor() as pool:
        plane = pool.submit(controlplane.start, cluster.pki)
        booting = [pool.submit(_boot, node, disk, wanted) for node in cluster.nodes]
        for future in [plane, *booting]:
            future.result()
        list(pool.map(Node.start_kubelet, cluster.nodes))
    cluster.wait_ready()
    account = ("get", "serviceaccount", "default", "--namespace=default", "--output=name")
    until(lambda: cluster.kubectl(*account, check=False), "pods are accepted", 60, pause=0.2)
    _FACTS.write_text(json.dumps({"nodes": numbers}))
    _say("the cluster is up")


def _boot(node: Node, disk: int, wanted: Sequence[Image]) -> None:
    node.make(disk)
    node.boot()
    node.start_containerd()
    for image in wanted:
        node.load(image)


def _mend(cluster: Cluster) -> None:
    """Start what an earlier test has left stopped."""
    for node in cluster.nodes:
        if not node.runs:
            node.kill()
            node.start()
        elif not answers(node.ip, KUBELET_PORT):
            node.start_kubelet()
    cluster.wait_ready()


def _found() -> Cluster | None:
    """Return the cluster that is up, if one is and answers."""
    if not (_KEPT.exists() and _FACTS.exists()):
        return None
    cluster = Cluster(json.loads(_FACTS.read_text())["nodes"])
    return cluster if controlplane.ready(cluster.pki) else None


def _remove(before: dict[str, str]) -> None:
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        begun = time.monotonic()
        sweep.sweep()
        _say(f"the cluster is gone ({time.monotonic() - begun:.0f} s)")
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if left := [*traces.left(), *traces.changed(before)]:
        raise Traces("left on the machine: " + "; ".join(left))


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
