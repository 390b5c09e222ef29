"""A model that takes longer than a call of kubelet's: what people see meanwhile, and how soon the pod starts."""

import secrets
import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from e2e import object_store as stores
from e2e.agents import running_container
from e2e.driver import Driver
from e2e.kube import Kube, claim, namespace, with_claim
from e2e.object_store import Model, ObjectStore
from e2e.reports import nonce
from e2e.slow_way import Passed, SlowWay
from e2e.told import Told, progress
from e2e.volumes import reads_exactly, storage_class

MIB = 1024 * 1024
NODE = "node2"
PORT = 9002
RATE = 4.0 * MIB  # bytes per second
SIZES = {f"weights-{number}": 140 * MIB for number in range(4)}
SECONDS = sum(SIZES.values()) / RATE  # more than a call of kubelet's may take
LOOK = 1.0  # seconds between two looks at the events
HEADS = 0.001  # what answers' heads may add to the bytes of the model
PERIOD = 20.0  # seconds between two events of the agent's, at least
IN_FLIGHT = 20 * MIB  # bytes that have passed and aren't written, at most: a block for each stream, and buffers
BOOT = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
SAY_WHEN_STARTED = "cut -d' ' -f1 /proc/uptime; trap exit TERM; sleep inf & wait"


@dataclass
class Story:
    """All that was seen of one staging."""

    kube: Kube
    model: Model
    claim_events: list[Told] = field(default_factory=list)
    pod_events: list[Told] = field(default_factory=list)
    samples: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since 1970, and how many bytes had passed the proxy."""
    passed: Passed = field(default_factory=lambda: Passed(0, 0.0))

    def look(self, way: SlowWay) -> bool:
        """Write down how things are; tell whether the pod runs."""
        self.samples.append((time.time(), way.passed().bytes))
        for told, kind, name in ((self.claim_events, "pvc", "slow"), (self.pod_events, "pod", "slow")):
            new = [progress(event) for event in self.kube.events_of(kind, name)]
            told.extend(one for one in new if one is not None and one not in told)
        return running_container(self.kube.get("pod", "slow")) != ""

    def passed_by(self, when: float) -> int:
        """Return how many bytes had passed the proxy soon after a time."""
        index = bisect_left(self.samples, (when, 0))
        return self.samples[min(index, len(self.samples) - 1)][1]


@pytest.fixture(scope="module")
def way(object_store: ObjectStore) -> Iterator[SlowWay]:
    with stores.way("throttled", PORT) as found:
        yield found


@pytest.fixture(scope="module")
def story(driver: Driver, object_store: ObjectStore, way: SlowWay) -> Iterator[Story]:
    """Stage a model slowly, and give what was seen of it."""
    model = object_store.put_model("slow", f"model-{nonce()}", SIZES, seed=secrets.randbits(32))
    object_store.publish("slow")
    driver.kube.apply(storage_class("slow", model.source, endpoint=way.endpoint))
    with namespace(driver.kube, f"slow-{nonce()}") as kube:
        found = Story(kube, model)
        way.slow(RATE)
        kube.apply(claim("slow", "slow"), with_claim("slow", "slow", "sh", "-c", SAY_WHEN_STARTED, node=NODE))
        kube.wait_for(lambda: found.look(way), 240, lambda: kube.story("pod", "slow"), pause=LOOK)
        found.passed = way.passed()
        yield found
    driver.kube.delete("storageclass", "slow")


def test_the_pod_starts_within_three_seconds_of_the_last_byte(story: Story) -> None:
    waited = float(story.kube.logs("slow")) - story.passed.last  # by the same clock
    print(f"\nthe pod's process started {waited:.2f} s after the last byte")
    assert 0 < waited < 3.0


def test_no_byte_is_fetched_twice(story: Story) -> None:
    assert story.model.size <= story.passed.bytes <= story.model.size * (1 + HEADS)
    assert reads_exactly(story.kube, "slow", story.model)


def test_the_claim_tells_the_progress_about_three_times_a_minute(story: Story) -> None:
    assert len(story.claim_events) >= SECONDS // PERIOD - 1
    assert_true(story, story.claim_events)


def test_the_pod_tells_the_progress_when_a_call_has_ended(story: Story) -> None:
    assert story.pod_events
    assert_true(story, story.pod_events)


def assert_true(story: Story, told: list[Told]) -> None:
    """See that what was told is what was the case."""
    last_byte = BOOT + story.passed.last
    for before, after in pairwise(told):
        assert before.present <= after.present
    for one in told:
        print(f"\n{one}, {last_byte - one.at:.0f} s before the last byte", end="")
        assert one.total == pytest.approx(story.model.size, rel=0.005)  # three digits
        assert story.passed_by(one.at) - IN_FLIGHT <= one.present <= story.passed_by(one.at + 1) * 1.005
        assert one.left is None or one.left == pytest.approx(last_byte - one.at, rel=0.33, abs=10)


def test_the_claim_tells_the_end(story: Story) -> None:
    said = story.kube.event("pvc", "slow", "Staged")["message"]
    assert said.startswith("staged 587 MB in 2 min ")
