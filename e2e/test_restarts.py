"""Whatever restarts on a node: what was on its way goes on where it stopped, and pods that run never notice."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from e2e import agents
from e2e import object_store as stores
from e2e.agents import running_container
from e2e.driver import Driver
from e2e.kube import Kube, claim, with_claim
from e2e.object_store import Model, ObjectStore
from e2e.reports import nonce
from e2e.slow_way import SlowWay
from e2e.volumes import DRIVER, agent_on, fetched, metric, named_after_models, reads_exactly

MIB = 1024 * 1024
NODE = "node3"
NAME, PORT = "restarts", 9003
SERVED = {"weights": 8 * MIB}
STAGED = {f"weights-{number:02}": 4 * MIB for number in range(20)}
RATE, TRICKLE = 32 * MIB, MIB / 4  # bytes per second: until three quarters are sent, and then
IN_FLIGHT = 32 * MIB  # eight streams with a file each: what wasn't durable
HEADS = MIB  # of answers, and listings
GAP = 5.0  # seconds between two reads of a pod at most, on a busy machine
READ_IN_A_LOOP = """
trap exit TERM
while :; do echo "$(cut -d' ' -f1 /proc/uptime) $(sha256sum < /model/weights | cut -d' ' -f1)"; sleep 0.1; done
"""


@pytest.fixture(scope="module")
def way(object_store: ObjectStore) -> Iterator[SlowWay]:
    with stores.way(NAME, PORT) as found:
        yield found


@pytest.fixture(scope="module")
def kube(driver: Driver, object_store: ObjectStore, way: SlowWay) -> Iterator[Kube]:
    """Yield a namespace; claims of its class are named after their models."""
    with named_after_models(driver.kube, object_store, NAME, way.endpoint) as inside:
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
        same = running_container(self.kube.get("pod", "reader")) == self.container
        return found if same else [*found, "started anew"]

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
    model = object_store.put_model(NAME, "served", SERVED)
    wanted = with_claim("reader", "served", "sh", "-c", READ_IN_A_LOOP, node=NODE, restartPolicy="Always")
    kube.apply(claim("served", NAME), wanted)
    return reading(kube, model)


@dataclass(frozen=True)
class Staging:
    """A model of which three quarters are sent, and a pod that waits for it."""

    kube: Kube
    way: SlowWay
    model: Model
    passed: int
    """Bytes that the source had sent before."""

    def ends_well(self) -> bool:
        """Let it go on, and tell whether the pod starts and reads every byte."""
        self.way.slow(None)
        self.kube.pod_ready(self.model.prefix, 120)
        return reads_exactly(self.kube, self.model.prefix, self.model)

    def sent_twice(self) -> int:
        """Return how many bytes the source sent more than the model has."""
        return self.way.passed().bytes - self.passed - self.model.size


@pytest.fixture
def staging(kube: Kube, object_store: ObjectStore, way: SlowWay) -> Iterator[Staging]:
    name = f"staged-{nonce()}"
    model = object_store.put_model(NAME, name, STAGED, seed=secrets.randbits(32))
    found = Staging(kube, way, model, way.passed().bytes)
    way.slow(RATE)
    kube.apply(claim(name, NAME), with_claim(name, name, node=NODE))
    way.wait_passed(found.passed + model.size * 3 // 4)
    way.slow(TRICKLE)
    yield found
    way.slow(None)
    kube.delete("pod", name)


def registered(kube: Kube) -> bool:
    """Tell whether the CSINode has the driver, and the agent says that kubelet knows it."""
    node = kube.get("csinode", NODE)
    drivers = node["spec"].get("drivers") or [] if node else []
    return DRIVER in [one["name"] for one in drivers] and metric(kube, NODE, "csi_model_registered") == 1


def test_a_killed_driver_goes_on_where_it_stopped(kube: Kube, reader: Reader, staging: Staging) -> None:
    agents.kill(kube, NODE)
    assert staging.ends_well()
    assert not reader.complaints()
    assert staging.sent_twice() <= IN_FLIGHT + HEADS


def test_a_rolling_update_goes_on_where_it_stopped(driver: Driver, reader: Reader, staging: Staging) -> None:
    driver.kube.kubectl("rollout", "restart", "daemonset/csi-model-node")
    driver.wait_ready()
    assert staging.ends_well()
    assert not reader.complaints()
    assert staging.sent_twice() <= IN_FLIGHT + HEADS


def test_a_restart_of_kubelet_disturbs_nothing(kube: Kube, reader: Reader, staging: Staging) -> None:
    kube.cluster.node(NODE).restart_kubelet()
    kube.wait_for(lambda: registered(kube), 60, "the driver is registered")
    assert staging.ends_well()
    kube.apply(with_claim("newcomer", "served", node=NODE))
    kube.pod_ready("newcomer")
    assert not reader.complaints()
    assert staging.sent_twice() <= HEADS


def test_a_restart_of_containerd_disturbs_nothing(kube: Kube, reader: Reader, staging: Staging) -> None:
    agent = running_container(agent_on(kube, NODE))
    kube.cluster.node(NODE).restart_containerd()
    assert staging.ends_well()
    assert not reader.complaints()
    assert running_container(agent_on(kube, NODE)) == agent
    assert staging.sent_twice() <= HEADS


def test_after_a_reboot_pods_come_back_without_a_byte_fetched(kube: Kube, way: SlowWay, reader: Reader) -> None:
    def runs_anew() -> bool:
        return running_container(kube.get("pod", "reader")) not in ("", reader.container)

    before = way.passed()
    kube.cluster.node(NODE).reboot()
    kube.wait_for(runs_anew, 120, lambda: kube.story("pod", "reader"))
    assert not reading(kube, reader.model).complaints()
    assert fetched(kube, NODE) == 0
    assert way.passed() == before
