"""Whatever restarts on a node: what was on its way goes on, and pods that run never notice."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from e2e import agents
from e2e.agents import running_container
from e2e.driver import Driver
from e2e.kube import Kube, Object, claim, namespace, with_claim
from e2e.object_store import Model, ObjectStore
from e2e.reports import nonce
from e2e.volumes import DRIVER, agent_on, fetched, metric, reads_exactly, storage_class

MIB = 1024 * 1024
NODE = "node3"
BUCKET = "restarts"
SERVED = {"weights": 8 * MIB}
STAGED = {f"weights-{number:02}": 4 * MIB for number in range(20)}
RATE, TRICKLE = 20 * MIB, MIB / 4  # bytes per second: until the restart, and meanwhile
IN_FLIGHT = 32 * MIB  # eight streams with a file each: what a process that is killed hasn't made durable
GAP = 5.0  # seconds between two reads of a pod, on a busy machine
READ_IN_A_LOOP = """
trap exit TERM
while :; do echo "$(cut -d' ' -f1 /proc/uptime) $(sha256sum < /model/weights | cut -d' ' -f1)"; sleep 0.1; done
"""


@pytest.fixture(scope="module")
def kube(driver: Driver, object_store: ObjectStore) -> Iterator[Kube]:
    """Yield a namespace; claims of its class are named after their models, whose source can be slowed down."""
    object_store.bucket(BUCKET)
    object_store.publish(BUCKET)
    slow = ObjectStore.slow_endpoint
    driver.kube.apply(storage_class("restarts", f"s3://{BUCKET}/${{pvc.name}}", endpoint=slow))
    with namespace(driver.kube, f"restarts-{nonce()}") as inside:
        yield inside


@dataclass(frozen=True)
class Reader:
    """A pod that reads its model in a loop and prints what it sees."""

    kube: Kube
    model: Model
    container: str

    def complaints(self) -> list[str]:
        """Return what it noticed since it started: another container, other bytes, a gap between two reads."""
        latest = self._reads()[-1][0]
        self.kube.wait_for(lambda: self._reads()[-1][0] > latest, 30, "the reader goes on")
        reads, wanted = self._reads(), self.model.digests["weights"]
        found = [f"read {digest} at {when:.1f}" for when, digest in reads if digest != wanted]
        found += [f"gap of {end - begin:.1f} s" for (begin, _), (end, _) in pairwise(reads) if end - begin > GAP]
        return (
            found if running_container(self.kube.get("pod", "reader")) == self.container else [*found, "started anew"]
        )

    def _reads(self) -> list[tuple[float, str]]:
        """Return when it read and the digest of what it read; a line of any other kind is an error of its own."""
        lines = [line.split() for line in self.kube.logs("reader").splitlines()]
        return [(float(when), digest) for when, digest in lines]


def reading(kube: Kube, model: Model) -> Reader:
    """Return the reader, once it runs and has read."""
    pod = kube.pod_ready("reader", 120)
    kube.wait_for(lambda: kube.logs("reader"), 30, "the reader has read")
    return Reader(kube, model, running_container(pod))


@pytest.fixture(scope="module")
def reader(kube: Kube, object_store: ObjectStore) -> Reader:
    model = object_store.put_model(BUCKET, "served", SERVED)
    wanted = with_claim("reader", "served", "sh", "-c", READ_IN_A_LOOP, node=NODE, restartPolicy="Always")
    kube.apply(claim("served", "restarts"), wanted)
    return reading(kube, model)


@dataclass(frozen=True)
class Staging:
    """A model that is half here, and a pod that waits for it."""

    kube: Kube
    store: ObjectStore
    model: Model
    present: int
    """Bytes of it that are here, at least."""
    fetched: int
    """Bytes that were received for it, at least."""

    def ends_well(self) -> bool:
        """Let it go on, and tell whether the pod starts and reads every byte."""
        self.store.slow(None)
        self.kube.pod_ready(self.model.prefix, 120)
        return reads_exactly(self.kube, self.model.prefix, self.model)


def half_of(kube: Kube, model: Model) -> Object:
    """Wait until half of a model is there and return how far it is."""

    def look() -> Object | None:
        progress = agents.progress(kube, NODE, model)
        return progress if progress and progress["present_bytes"] > model.size // 2 else None

    return kube.wait_for(look, 90, lambda: f"half of it is there. {kube.story('pod', model.prefix)}")


@pytest.fixture
def staging(kube: Kube, object_store: ObjectStore) -> Iterator[Staging]:
    name = f"staged-{nonce()}"
    model = object_store.put_model(BUCKET, name, STAGED, seed=secrets.randbits(32))
    object_store.slow(RATE)
    kube.apply(claim(name, "restarts"), with_claim(name, name, node=NODE))
    try:
        half_of(kube, model)
        object_store.slow(TRICKLE)
        progress = half_of(kube, model)
        yield Staging(kube, object_store, model, progress["present_bytes"], progress["fetched_bytes"])
    finally:
        object_store.slow(None)
        kube.delete("pod", name, grace=1)


def registered(kube: Kube) -> bool:
    """Tell whether the node's object says that kubelet knows the driver, and the agent that it does."""
    known: Object = kube.get("csinode", NODE) or {"spec": {"drivers": []}}
    there = DRIVER in [one["name"] for one in known["spec"]["drivers"] or []]
    return there and metric(kube, NODE, "csi_model_registered") == 1


def test_a_killed_driver_goes_on_where_it_stopped(kube: Kube, reader: Reader, staging: Staging) -> None:
    agents.kill(kube, NODE)
    assert staging.ends_well()
    assert not reader.complaints()
    assert staging.fetched + fetched(kube, NODE) <= staging.model.size + IN_FLIGHT


def test_a_rolling_update_goes_on_where_it_stopped(
    kube: Kube, driver: Driver, reader: Reader, staging: Staging
) -> None:
    driver.kube.kubectl("rollout", "restart", "daemonset/csi-model-node")
    driver.wait_ready()
    assert staging.ends_well()
    assert not reader.complaints()
    assert fetched(kube, NODE) <= staging.model.size - staging.present


def test_a_restart_of_kubelet_disturbs_nothing(kube: Kube, reader: Reader, staging: Staging) -> None:
    before = fetched(kube, NODE)
    kube.cluster.node(NODE).restart_kubelet()
    kube.wait_for(lambda: registered(kube), 60, "the driver is registered")
    assert staging.ends_well()
    kube.apply(with_claim("newcomer", "served", node=NODE))
    kube.pod_ready("newcomer")
    assert not reader.complaints()
    assert fetched(kube, NODE) - before <= staging.model.size - staging.fetched


def test_a_restart_of_containerd_disturbs_nothing(kube: Kube, reader: Reader, staging: Staging) -> None:
    agent, before = running_container(agent_on(kube, NODE)), fetched(kube, NODE)
    kube.cluster.node(NODE).restart_containerd()
    assert staging.ends_well()
    assert not reader.complaints()
    assert running_container(agent_on(kube, NODE)) == agent
    assert fetched(kube, NODE) - before <= staging.model.size - staging.fetched


def test_after_a_reboot_pods_come_back_without_a_byte_fetched(kube: Kube, reader: Reader) -> None:
    def runs_anew() -> bool:
        return running_container(kube.get("pod", "reader")) not in ("", reader.container)

    kube.cluster.node(NODE).reboot()
    kube.wait_for(runs_anew, 120, lambda: kube.story("pod", "reader"))
    assert not reading(kube, reader.model).complaints()
    assert fetched(kube, NODE) == 0
