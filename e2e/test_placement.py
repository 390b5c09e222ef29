"""Where pods go: rather, or only, or whether or not, to a node where their models are staged."""

import re
import time
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import pytest

from e2e import object_store as stores
from e2e.driver import Driver
from e2e.kube import Kube, claim, namespace, with_claim
from e2e.object_store import ObjectStore
from e2e.reports import nonce
from e2e.slow_way import SlowWay
from e2e.steered import (
    MIB,
    Library,
    Steered,
    bound_to,
    deployed,
    deployment,
    labelled,
    library_in,
    mounting,
    placed,
    pods_of,
    requesting,
    share,
    wait_bound,
)

BUCKET, PORT = "placement", 9005
ALONE = "csi-model.io/webhook=disabled"
PODS = 20
COLD, TRICKLE = 24 * MIB, MIB / 4  # a model that takes a minute and a half, unless it is let
LARGE, RATE = 192 * MIB, 2 * MIB  # likewise; one that is larger than a chunk, and so fast that its rate can be told
TOLD = re.compile(
    r"waits for node (\S+): (.*) is being staged there: [\d.]+ .?B of [\d.]+ .?B, [\d.]+ .?B/s, about .* left"
)


class Told(NamedTuple):
    """What a waiting pod is told: the node that it waits for, and what is staged there meanwhile."""

    node: str
    what: str


@pytest.fixture(scope="module")
def opened(object_store: ObjectStore) -> Iterator[SlowWay]:
    with stores.way(BUCKET, PORT) as found:
        yield found


@pytest.fixture
def way(opened: SlowWay) -> Iterator[SlowWay]:
    """Yield a way to the store, which is at full speed before and after each test."""
    yield opened
    opened.slow(None)


@pytest.fixture(scope="module")
def library(driver: Driver, object_store: ObjectStore) -> Iterator[Library]:
    with library_in(BUCKET, driver, object_store) as found:
        yield found


@pytest.fixture(scope="module")
def kube(library: Library) -> Kube:
    return library.kube


# --- prefer ---


def test_twenty_pods_start_on_the_one_node_that_has_the_model_and_more_of_them_elsewhere(
    library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    kube, volume = library.kube, library.staged("burst", "node2")
    wanted = deployment("burst", "burst", replicas=PODS, **requesting(share(kube, "node2", PODS)))
    begun = time.monotonic()
    with deployed(kube, wanted):
        kube.rolled_out("deployment", "burst", 300)
        with capsys.disabled():
            print(f"\n{PODS} pods ran after {time.monotonic() - begun:.1f} s, by node: {dict(placed(kube, 'burst'))}")
        assert placed(kube, "burst") == {"node2": PODS}
        kube.kubectl("scale", "deployment", "burst", f"--replicas={PODS + 3}")
        kube.rolled_out("deployment", "burst", 300)
        assert placed(kube, "burst")["node2"] == PODS
        volume.wait_staged(*placed(kube, "burst"))


def test_a_claim_and_its_pods_in_one_apply_are_steered(library: Library) -> None:
    kube, volume = library.kube, library.staged("together", "node3")
    name = library.classed(volume.item["spec"]["source"])
    wanted = deployment("together-too", "together-too", replicas=3)
    kube.apply({"apiVersion": "v1", "kind": "List", "items": [claim("together-too", name), wanted]})
    with deployed(kube, wanted):
        kube.rolled_out("deployment", "together-too")
        assert placed(kube, "together-too") == {"node3": 3}


def test_a_pod_goes_where_it_must_though_it_prefers_another_node(library: Library) -> None:
    kube, volume = library.kube, library.staged("elsewhere", "node2")
    kube.apply(with_claim("elsewhere", "elsewhere", node="node1"))
    kube.pod_ready("elsewhere")
    volume.wait_staged("node1", "node2")


def test_ten_pods_of_a_cold_model_a_second_apart_join_the_first_warm_up(
    library: Library, way: SlowWay, capsys: pytest.CaptureFixture[str]
) -> None:
    kube = library.kube
    way.slow(TRICKLE)
    volume = library.claimed("apart", COLD, endpoint=way.endpoint)
    assert volume.labels() == {}
    names = [f"apart-{number}" for number in range(10)]
    requests = requesting(share(kube, "node1", PODS))
    late = []  # those that come when it has been told for a second that the model is on its way
    for name in names:
        late += [name] if volume.labels() else []
        time.sleep(1)  # not a wait: the scenario's own pace
        kube.apply(mounting(name, "apart", **requests))
    nodes = {name: wait_bound(kube, name) for name in names}
    assert set(volume.labels().values()) == {"warming"}, "it was to take longer than the pods"
    way.slow(None)
    for name in names:
        kube.pod_ready(name)
    used, begun = set(nodes.values()), {nodes[name] for name in names if name not in late}
    with capsys.disabled():
        print(
            f"\n10 pods of a cold model, a second apart: warm-ups on {sorted(warm_ups(volume))}, pods on {sorted(used)}"
        )
    assert len(late) >= len(names) / 2, "labels follow the watch"
    assert used == begun, "those that came late join"
    assert warm_ups(volume) <= begun
    kube.kubectl("delete", "pods", *names, "--grace-period=1")


def test_ten_pods_of_a_cold_model_at_once_all_start(
    library: Library, way: SlowWay, capsys: pytest.CaptureFixture[str]
) -> None:
    kube = library.kube
    way.slow(TRICKLE)
    volume = library.claimed("at-once", COLD, endpoint=way.endpoint)
    with deployed(kube, deployment("at-once", "at-once", replicas=10, **requesting(share(kube, "node1", PODS)))):
        kube.wait_for(lambda: sum(placed(kube, "at-once").values()) == 10, 120, "there are 10 pods")
        kube.wait_for(lambda: "" not in placed(kube, "at-once"), 120, "they are bound")
        way.slow(None)
        kube.rolled_out("deployment", "at-once")
        with capsys.disabled():
            print(f"\n10 pods of a cold model at once: warm-ups on {sorted(warm_ups(volume))}")


def test_a_namespace_can_be_left_alone(driver: Driver, library: Library) -> None:
    with namespace(driver.kube, f"{BUCKET}-alone-{nonce()}") as kube:
        there = Library(kube, library.store, BUCKET)
        model = there.put("alone")
        kube.apply(claim("alone", there.classed(model.source)))
        key = Steered(kube, "alone").key
        assert preferences(kube, probe(kube, "alone")) == [key, key]
        kube.kubectl("label", "namespace", kube.namespace, ALONE)
        kube.wait_for(lambda: preferences(kube, probe(kube, "alone")) == [], 60, "the API server knows the label")


# --- any ---


def test_with_any_nothing_is_labelled_and_no_pod_is_steered(library: Library) -> None:
    kube, volume = library.kube, library.claimed("any", placement="any", warmReplicas="1")
    volume.wait_status(staged=1, wanted=1)
    kube.apply(with_claim("any", "any"))
    kube.pod_ready("any")
    assert volume.labels() == {}
    assert preferences(kube, "any") == []


# --- require ---


def test_with_require_all_pods_wait_and_are_told_where_it_is_staged_how_far_and_how_long_still(
    library: Library, way: SlowWay
) -> None:
    kube = library.kube
    way.slow(RATE)
    volume = library.claimed("required", LARGE, endpoint=way.endpoint, placement="require")
    kube.wait_for(lambda: volume.status.get("secondsLeft"), 60, volume.story)
    [node] = volume.wanted_on()
    with deployed(kube, deployment("required", "required", replicas=6)):
        names = kube.wait_for(lambda: names_of(kube, "required", 6), 60, "there are 6 pods")
        for name in names:
            told = kube.wait_for(partial(told_of, kube, name), 90, partial(kube.story, "pod", name))
            assert told == (node, volume.item["spec"]["source"])
        assert placed(kube, "required") == {"": 6}
        way.slow(None)
        kube.rolled_out("deployment", "required")
        assert placed(kube, "required") == {node: 6}


def test_with_require_a_claim_that_waits_for_its_first_consumer_is_staged_where_that_can_run(library: Library) -> None:
    kube, volume = library.kube, library.claimed("later", binding="WaitForFirstConsumer", placement="require")
    kube.event("pvc", "later", "WaitForFirstConsumer")
    kube.apply(with_claim("later", "later", node="node3"))
    kube.pod_ready("later")
    kube.wait_for(lambda: volume.labels().get("node3") == "staged", 60, volume.story)


def test_with_require_a_model_is_staged_where_its_pod_can_run(library: Library) -> None:
    kube, volume = library.kube, library.staged("narrow", "node1", placement="require")
    with labelled(kube, "e2e/narrow=yes", "node3"):
        kube.apply(mounting("narrow", "narrow", nodeSelector={"e2e/narrow": "yes"}))
        kube.pod_ready("narrow")
    volume.wait_staged("node1", "node3")


def test_with_require_a_pod_that_is_bound_where_the_model_is_not_gets_it_there(library: Library) -> None:
    kube, volume = library.kube, library.staged("bound", "node2", placement="require")
    wanted = mounting("bound", "bound")
    wanted["spec"]["nodeName"] = "node1"  # past the scheduler, as one that was too late to see the label go
    kube.apply(wanted)
    kube.pod_ready("bound")
    volume.wait_staged("node1", "node2")


def test_two_required_models_that_lie_on_different_nodes_are_brought_together(library: Library, way: SlowWay) -> None:
    kube = library.kube
    volumes = [
        library.staged(name, node, endpoint=way.endpoint, placement="require", size=COLD)
        for name, node in (("left", "node1"), ("right", "node2"))
    ]
    way.slow(TRICKLE)
    kube.apply(mounting("both", "left", "right"))
    words = "being staged there", "is staged there", "(it is staged on "
    said = kube.event("pod", "both", "WaitingForModel", *words, timeout=60)["message"]
    assert bound_to(kube, "both") == ""
    way.slow(None)
    kube.pod_ready("both")
    node = bound_to(kube, "both")
    assert f"waits for node {node}: " in said
    kube.wait_for(lambda: all(it.labels().get(node) == "staged" for it in volumes), 60, f"both are labelled on {node}")


def test_two_preferred_models_on_different_nodes_do_not_keep_a_pod_from_starting(library: Library) -> None:
    kube = library.kube
    library.staged("port", "node1"), library.staged("starboard", "node2")
    kube.apply(mounting("ship", "port", "starboard"))
    kube.pod_ready("ship")
    assert bound_to(kube, "ship") in ("node1", "node2")


# --- Nobody steers ---


def test_pods_start_while_the_webhook_is_down(
    driver: Driver, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    kube = library.kube
    library.staged("unsteered", "node2")
    before = driver.kube.get("deployment", "csi-model-controller")
    assert before
    try:
        driver.kube.kubectl("scale", "deployment", "csi-model-controller", "--replicas=0")
        driver.kube.wait_for(lambda: not driver.pods("controller"), 120, "no controller is left")
        begun = time.monotonic()
        kube.apply(with_claim("unsteered", "unsteered"))
        kube.pod_ready("unsteered")
        with capsys.disabled():
            print(f"\nwith no webhook a pod ran after {time.monotonic() - begun:.1f} s")
        assert preferences(kube, "unsteered") == []
    finally:
        driver.kube.kubectl("scale", "deployment", "csi-model-controller", f"--replicas={before['spec']['replicas']}")
        driver.wait_ready()
    kube.wait_for(lambda: preferences(kube, probe(kube, "unsteered")), 120, "pods are steered again")


def probe(kube: Kube, claim: str) -> str:
    """Make a pod that mounts a claim and that nobody schedules, and return its name."""
    name = f"probe-{nonce()}"
    kube.apply(mounting(name, claim, schedulerName="nobody"))
    return name


def warm_ups(volume: Steered) -> set[str]:
    """Return the nodes on which a warm-up of it was begun, as the claim's events tell."""
    events = volume.kube.events_of("pvc", volume.claim)
    return {one["message"].rpartition(" on ")[2] for one in events if one["reason"] == "StagingStarted"}


def names_of(kube: Kube, name: str, count: int) -> list[str] | None:
    """Return the names of a Deployment's pods, if there are so many."""
    found = [one["metadata"]["name"] for one in pods_of(kube, name)]
    return found if len(found) == count else None


def told_of(kube: Kube, pod: str) -> Told | None:
    """Return what a waiting pod was told last; None if that isn't where it is staged, how far and how long still."""
    events = [one for one in kube.events_of("pod", pod) if one["reason"] == "WaitingForModel"]
    found = TOLD.match(events[-1]["message"]) if events else None
    return Told(found[1], found[2]) if found else None


def preferences(kube: Kube, pod: str) -> list[str]:
    """Return the keys of labels of ours that a pod prefers, one for each value."""
    affinity = (kube.get("pod", pod) or {})["spec"].get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("preferredDuringSchedulingIgnoredDuringExecution", [])
    keys = [one["key"] for term in terms for one in term["preference"]["matchExpressions"]]
    return [key for key in keys if key.startswith("csi-model.io/")]
