"""What is wanted is made good again, whatever happens to it; and no pod ever loses what it reads."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from e2e import agents, controllers, disks
from e2e import object_store as stores
from e2e.cluster.cluster import Cluster
from e2e.driver import NAMESPACE, Driver
from e2e.kube import Kube, Object, claim, namespace, with_claim
from e2e.object_store import ObjectStore
from e2e.reports import nonce
from e2e.slow_way import SlowWay
from e2e.steered import HOST, MIB, STAGED, WARMING, Library, Steered, labelled, library_in, wait_bound
from e2e.volumes import agent_name, agent_on, attributes_class, digests_in, reads_exactly
from e2e.watched import MODEL_NODES, NODES, Heard, Watch, watching

BUCKET, PORT = "healing", 9007
NODE_NAMES = {"node1", "node2", "node3"}
STORE = "/var/lib/csi-model/store"
LIMITED = "healing-limited"  # a namespace with a quota of 10 MB, see values.yaml
LARGE, ROOM = 32 * MIB, 104 * MIB  # of which three fit and not four, even if what others leave there goes
TRICKLE = MIB / 8  # bytes per second: what is lost takes half a minute to come again, and what is damaged a minute


@pytest.fixture(scope="module")
def library(driver: Driver, object_store: ObjectStore) -> Iterator[Library]:
    with library_in(BUCKET, driver, object_store) as found:
        yield found


@pytest.fixture(scope="module")
def opened(object_store: ObjectStore) -> Iterator[SlowWay]:
    with stores.way(BUCKET, PORT) as found:
        yield found


@pytest.fixture
def way(opened: SlowWay) -> Iterator[SlowWay]:
    """Yield a way to the store, which is at full speed before and after each test."""
    yield opened
    opened.slow(None)


# --- Disks that fill ---


def test_eviction_takes_what_nobody_needs_after_its_label_and_nothing_that_a_pod_reads(
    cluster: Cluster, library: Library
) -> None:
    kube, served = library.kube, ("serving", "served")
    with disks.roomy_for(kube, "node3", ROOM):
        volumes = {name: library.staged(name, "node3", size=LARGE, placement="require") for name in (*served, "idle")}
        kube.apply(*[with_claim(name, name) for name in served], move(volumes["idle"], "node2"))
        for name in served:
            kube.pod_ready(name)
        before = {name: digests_in(kube, name) for name in served}
        volumes["idle"].wait_staged("node2", "node3")
        with watching(cluster, NODES) as nodes, watching(cluster, MODEL_NODES) as reports:
            library.claimed("newcomer", LARGE)
            kube.apply(with_claim("newcomer", "newcomer", node="node3"))
            kube.pod_ready("newcomer", 240)
            volumes["idle"].wait_staged("node2")
            reports.wait(
                lambda heard: heard.name == "node3" and not is_here(volumes["idle"], heard.item), 60, "it goes"
            )
            labels = {name: nodes.values("node3", partial(value_of, volume)) for name, volume in volumes.items()}
            copies = reports.values("node3", partial(is_here, volumes["idle"]))
            assert guards_seen(reports, volumes["idle"]) == ["Keep", "Withdrawn", "Released"]
        assert [value for _, value in labels["idle"]] == ["staged", ""]
        assert [value for _, value in copies] == ["here", ""]
        assert labels["idle"][1][0] < copies[1][0], "first the label goes, then the copy"
        assert {value for name in served for _, value in labels[name]} == {"staged"}
        assert {name: digests_in(kube, name) for name in served} == before
        for name in (*served, "newcomer"):
            kube.delete("pod", name, grace=1)


def move(volume: Steered, node: str) -> Object:
    """Let a claim want its model on another node, and return the class that says so."""
    name = f"{BUCKET}-{nonce()}"
    wanted = attributes_class(name, warmReplicas="1", warmNodeSelector=f"{HOST}={node}")
    volume.kube.apply(wanted)
    volume.kube.patch("pvc", volume.claim, {"spec": {"volumeAttributesClassName": name}})
    return wanted


def test_a_namespace_has_no_more_brought_ahead_than_its_quota(driver: Driver, library: Library) -> None:
    with namespace(driver.kube, LIMITED) as kube:
        limited = Library(kube, library.store, BUCKET)
        volume = limited.claimed("limited", warmReplicas="3")
        nodes = volume.wait_count(2)
        kube.wait_for(lambda: "quota" in volume.condition("Placed").get("message", ""), 120, volume.story)
        assert volume.condition("Placed")["status"] == "False"
        assert volume.wanted_on() == nodes
        [other] = NODE_NAMES - nodes
        kube.apply(with_claim("needs-it", "limited", node=other))
        kube.pod_ready("needs-it")


# --- Copies that are lost ---


def test_a_disk_that_was_wiped_is_filled_again(cluster: Cluster, library: Library, way: SlowWay) -> None:
    volume = library.staged("wiped", "node2", endpoint=way.endpoint)
    with watching(cluster, NODES) as watch:
        way.slow(TRICKLE)
        cluster.node("node2").run("sh", "-c", f"cd {STORE} && rm -rf trees/* blobs/* known/* manifests/*")
        agents.kill(library.kube, "node2")
        wait_value(watch, volume, WARMING)
        way.slow(None)
        volume.wait_staged("node2")


def test_a_corrupt_copy_under_a_bound_pod_loses_its_label_and_is_staged_again(
    cluster: Cluster, library: Library, way: SlowWay, capsys: pytest.CaptureFixture[str]
) -> None:
    kube, model = library.kube, library.put("corrupt", 8 * MIB)
    parameters = {"placement": "require", "warmReplicas": "1", "warmNodeSelector": f"{HOST}=node2"}
    kube.apply(claim("corrupt", library.classed(model.source, endpoint=way.endpoint, **parameters)))
    kube.apply(with_claim("reader", "corrupt"))
    volume = Steered(kube, "corrupt")
    kube.pod_ready("reader")
    with watching(cluster, NODES) as watch:
        sound = wait_value(watch, volume, STAGED)
        way.slow(TRICKLE)
        with cluster.node("node2").path(f"{STORE}/trees/{volume.revision}/root/weights").open("r+b") as file:
            file.seek(5 * MIB)
            file.write(b"rotten")
        agent = agent_name(kube, "node2")
        said = kube.inside(NAMESPACE).execute(agent, "csi-model", "verify", volume.revision, check=False, timeout=120)
        assert "1 damaged files" in said, said
        lost = wait_value(watch, volume, WARMING, after=sound)
        way.slow(None)
        wait_value(watch, volume, STAGED, after=lost)
        history = watch.values("node2", partial(value_of, volume))
    volume.wait_staged("node2")
    with capsys.disabled():
        print(f"\na corrupt copy: {[(round(at - history[0][0], 2), value) for at, value in history]}")
    kube.apply(with_claim("second", "corrupt"))
    kube.pod_ready("second")
    assert reads_exactly(kube, "second", model)


@pytest.mark.parametrize("change", ["{key}-", "{key}=warming"], ids=["removed", "edited"])
def test_a_label_that_was_changed_by_hand_is_put_right(library: Library, edited: Steered, change: str) -> None:
    edited.wait_staged("node2")
    library.kube.kubectl("label", "node", "node2", change.format(key=edited.key), "--overwrite")
    edited.wait_staged("node2")


def test_a_label_that_was_set_by_hand_where_nothing_is_goes_away(library: Library, edited: Steered) -> None:
    edited.wait_staged("node2")
    library.kube.kubectl("label", "node", "node1", f"{edited.key}=staged")
    edited.wait_staged("node2")


@pytest.fixture(scope="module")
def edited(library: Library) -> Steered:
    return library.staged("edited", "node2")


# --- Nodes that are lost ---


def test_the_labels_of_a_node_that_is_silent_are_withdrawn_and_come_back_with_it(
    library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    kube, volume = library.kube, library.claimed("silent", warmReplicas="1")
    [first] = volume.wait_count(1)
    with without_agent(kube, first):
        begun = time.monotonic()
        kube.wait_for(lambda: first not in volume.labels(), 120, volume.story)
        withdrawn = time.monotonic() - begun
        [second] = volume.wait_count(1)
        assert second != first
    volume.wait_staged(first, second)
    with capsys.disabled():
        print(f"\nan agent ended: its label was withdrawn after {withdrawn:.1f} s")


def test_a_required_model_whose_one_node_is_cordoned_is_staged_on_another(library: Library) -> None:
    kube, volume = library.kube, library.staged("cordoned", "node2", placement="require")
    try:
        kube.kubectl("cordon", "node2")
        kube.apply(with_claim("cordoned", "cordoned"))
        kube.pod_ready("cordoned")
    finally:
        kube.kubectl("uncordon", "node2")
    volume.wait_staged("node2", wait_bound(kube, "cordoned"))


def test_a_required_model_whose_one_node_dies_is_staged_on_another(
    driver: Driver, cluster: Cluster, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    kube, volume = library.kube, library.claimed("dies", placement="require")
    [dead] = volume.wait_count(1)
    begun = time.monotonic()
    try:
        cluster.node(dead).kill()
        kube.wait_for(lambda: dead not in volume.labels() and STAGED in volume.labels().values(), 240, volume.story)
        kube.apply(with_claim("survivor", "dies"))
        kube.pod_ready("survivor")
        with capsys.disabled():
            print(f"\na node died: a pod that required its model ran elsewhere after {time.monotonic() - begun:.1f} s")
    finally:
        cluster.node(dead).start()
        cluster.wait_ready(240)
    kube.wait_for(lambda: volume.labels().get(dead) == STAGED, 240, lambda: f"it is back. {volume.story()}")
    driver.wait_ready(agents.RUNS_AGAIN)


# --- The controllers ---


def test_when_the_leader_is_killed_another_goes_on(
    driver: Driver, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    before = controllers.leader(driver)
    begun = time.monotonic()
    controllers.kill(driver, before)
    volume = library.claimed("led", warmReplicas="1")
    volume.wait_count(1, timeout=240)
    with capsys.disabled():
        print(f"\nthe leader was killed: a new claim was staged ahead {time.monotonic() - begun:.1f} s later")
    assert controllers.leader(driver) != before
    driver.wait_ready(agents.RUNS_AGAIN)


@contextmanager
def without_agent(kube: Kube, node: str) -> Iterator[None]:
    """Let a node be without its agent (values.yaml says how), until the end of the block."""
    release = kube.inside(NAMESPACE)
    name = agent_name(kube, node)
    with labelled(kube, "e2e/no-agent=yes", node):
        release.wait_for(lambda: release.get("pod", name) is None, 120, f"{name} is gone")
        yield
    agent_on(kube, node)


def value_of(volume: Steered, node: Object) -> str:
    """Return the value of a volume's label on a node; "" if it has none."""
    return str(node["metadata"]["labels"].get(volume.key, ""))


def wait_value(watch: Watch, volume: Steered, value: str, *, after: Heard | None = None) -> Heard:
    """Wait until a volume's label has a value on node2, at any time or after an event; TookTooLong."""

    def look(heard: Heard) -> bool:
        return heard.name == "node2" and value_of(volume, heard.item) == value and (not after or heard.at > after.at)

    return watch.wait(look, 240, f"the label is {value}")


def is_here(volume: Steered, store: Object) -> str:
    """Tell whether a node says that it has a volume's copy: "here" or ""."""
    copies = store.get("status", {}).get("copies", [])
    return "here" if any(one["revision"] == volume.revision and one["warmth"] == "staged" for one in copies) else ""


def guards_seen(reports: Watch, volume: Steered) -> list[str]:
    """Return the states of a volume's guard on node3, in the order in which they were seen."""

    def state(store: Object) -> str:
        guarded = store.get("spec", {}).get("guarded", [])
        return next((str(one["state"]) for one in guarded if one["revision"] == volume.revision), "")

    return [value for _, value in reports.values("node3", state) if value]
