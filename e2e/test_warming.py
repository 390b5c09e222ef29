"""Declaring is warming: what a claim says of where its model shall lie is made so, and kept so, with no pod around."""

import statistics
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from e2e import object_store as stores
from e2e.cluster import joining
from e2e.cluster.cluster import Cluster
from e2e.driver import NAMESPACE, Driver
from e2e.kube import Kube, Object, claim, with_claim
from e2e.object_store import ObjectStore
from e2e.reports import nonce
from e2e.slow_way import SlowWay
from e2e.steered import ANNOTATION, MIB, Library, Steered, bound_to, deployed, deployment, labelled, library_in, pods_of
from e2e.volumes import agent_name, attributes_class, reads_exactly, secret, storage_class
from e2e.watched import NODES, Heard, Watch, watching

BUCKET, PORT = "warming", 9006
NODE_NAMES = {"node1", "node2", "node3"}
NOT_READY = {"key": "csi-model.io/agent-not-ready", "effect": "NoSchedule"}
SOURCE = "csi-model.io/source"
COPIES = 8  # of models on each node
AT_MOST = 10  # seconds until a label; what it takes is printed, and measured by `make scale`
NEXT, RATE = 48 * MIB, 24 * MIB  # of a rollout: a model that takes two seconds


@pytest.fixture(scope="module")
def way(object_store: ObjectStore) -> Iterator[SlowWay]:
    with stores.way(BUCKET, PORT) as found:
        yield found


@pytest.fixture(scope="module")
def library(driver: Driver, object_store: ObjectStore) -> Iterator[Library]:
    with library_in(BUCKET, driver, object_store) as found:
        yield found


@pytest.fixture(scope="module")
def kube(library: Library) -> Kube:
    return library.kube


@pytest.fixture(scope="module")
def attributes(kube: Kube) -> str:
    """Give VolumeAttributesClasses `<prefix>-0` to `<prefix>-3` that want so many nodes; return the prefix."""
    prefix = f"{BUCKET}-{nonce()}"
    kube.apply(*[attributes_class(f"{prefix}-{count}", warmReplicas=str(count)) for count in range(4)])
    return prefix


def change(volume: Steered, attributes: str) -> None:
    volume.kube.patch("pvc", volume.claim, {"spec": {"volumeAttributesClassName": attributes}})


# --- A number of nodes ---


def test_a_model_is_staged_ahead_of_its_pods_and_its_claim_tells(library: Library, way: SlowWay) -> None:
    kube, model = library.kube, library.put("ahead")
    kube.apply(claim("ahead", library.classed(model.source, endpoint=way.endpoint, warmReplicas="2")))
    volume = Steered(kube, "ahead")
    nodes = volume.wait_count(2)
    volume.wait_status(nodes="2/2", wanted=2, staged=2, staging=0, stagedOn=sorted(nodes), progress="")
    assert volume.status["observedGeneration"] == volume.item["metadata"]["generation"]
    assert {kind: volume.condition(kind)["status"] for kind in ("Placed", "Staged")} == dict.fromkeys(
        ("Placed", "Staged"), "True"
    )
    kube.wait_for(lambda: annotation(kube, "ahead") == "staged on 2 of 2 nodes", 120, "the claim's annotation")
    for node in nodes:
        kube.event("pvc", "ahead", "StagingStarted", f" on {node}")
    before = way.passed().bytes
    kube.apply(with_claim("ahead", "ahead"))
    kube.pod_ready("ahead")
    assert bound_to(kube, "ahead") in nodes
    assert reads_exactly(kube, "ahead", model)
    assert way.passed().bytes == before


def test_a_label_follows_the_copy_at_once(
    cluster: Cluster, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    with watching(cluster, NODES) as watch:
        volumes = [library.claimed(f"followed-{number}", MIB, warmReplicas="all") for number in range(COPIES)]
        for volume in volumes:
            volume.wait_staged(*NODE_NAMES)
        delays = [
            labelled_at(watch, volume, node) - staged
            for node in NODE_NAMES
            for volume, staged in committed(library.kube, node, volumes)
        ]
    assert len(delays) == COPIES * len(NODE_NAMES)
    with capsys.disabled():
        print(f"\nfrom the commit to the label: median {statistics.median(delays):.2f} s, most {max(delays):.2f} s")
    assert max(delays) < AT_MOST, "labels follow the watch, not the minute's look at everything"


def committed(kube: Kube, node: str, volumes: list[Steered]) -> Iterator[tuple[Steered, float]]:
    """Yield when a node's agent wrote down that it had staged a volume, in seconds since 1970."""
    lines = kube.inside(NAMESPACE).logs(agent_name(kube, node)).splitlines()
    for volume in volumes:
        [line] = [line for line in lines if f"staged revision {volume.revision[:12]}:" in line]
        yield volume, datetime.fromisoformat(line.split()[0]).timestamp()


def labelled_at(watch: Watch, volume: Steered, node: str) -> float:
    def look(heard: Heard) -> bool:
        return heard.name == node and heard.item["metadata"]["labels"].get(volume.key) == "staged"

    return watch.wait(look, 120, f"{volume.claim} is staged on {node}").at


def test_what_administrators_see_at_a_glance(library: Library) -> None:
    kube, volume = library.kube, library.staged("glance", "node2")
    volume.wait_status(nodes="1/1")
    [row] = table(kube.kubectl("get", "modelvolumes", volume.name))
    assert {**row, "PLACEMENT": "prefer", "NODES": "1/1", "CLAIM": "glance"} == row
    rows = table(kube.kubectl("get", "modelnodes"))
    assert {row["NAME"] for row in rows} == NODE_NAMES
    assert all(row["STAGED"].isdigit() and "GB" in row["CAPACITY"] for row in rows), rows


def test_the_number_of_nodes_follows_the_claims_attributes_class(library: Library, attributes: str) -> None:
    volume = library.claimed("scaled", warmReplicas="1")
    [first] = volume.wait_count(1)
    change(volume, f"{attributes}-3")
    volume.wait_staged(*NODE_NAMES)
    volume.wait_status(nodes="3/3", wanted=3)
    change(volume, f"{attributes}-1")
    volume.wait_status(wanted=1)
    volume.kube.wait_for(lambda: len(volume.wanted_on()) == 1, 120, volume.story)
    assert volume.labels().keys() == NODE_NAMES, "copies stay until the room is needed"
    change(volume, f"{attributes}-0")
    volume.wait_status(wanted=0)
    volume.wait_wanted()
    assert volume.labels()[first] == "staged"


def test_a_claim_can_be_made_with_an_attributes_class(library: Library, attributes: str) -> None:
    model = library.put("made-with")
    wanted = claim("made-with", library.classed(model.source))
    wanted["spec"]["volumeAttributesClassName"] = f"{attributes}-2"
    library.kube.apply(wanted)
    assert len(Steered(library.kube, "made-with").wait_count(2)) == 2


def test_an_attributes_class_with_a_mistake_changes_nothing_and_says_so(library: Library, attributes: str) -> None:
    kube, volume = library.kube, library.staged("mistake", "node1")
    kube.apply(attributes_class(f"{attributes}-many", warmReplicas="many"))
    change(volume, f"{attributes}-many")
    kube.event("pvc", "mistake", "VolumeModifyFailed", "warmReplicas", "many")
    assert volume.wanted_on() == {"node1"}


# --- All nodes, and those that a selector matches ---


def test_all_follows_nodes_that_come_and_go(
    driver: Driver, cluster: Cluster, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    kube, volume = library.kube, library.claimed("everywhere", warmReplicas="all")
    volume.wait_staged(*NODE_NAMES)
    with watching(cluster, NODES) as watch, joining.joined(cluster, [driver.image], [NOT_READY]) as node:
        volume.wait_staged(*NODE_NAMES, node.name, timeout=240)
        volume.wait_status(nodes="4/4")
        first = watch.all(node.name)[0]
        assert NOT_READY in taints(first.item)
        untainted = watch.wait(lambda it: it.name == node.name and NOT_READY not in taints(it.item), 120, "no taint")
        begun, ready, staged = first.at, untainted.at, labelled_at(watch, volume, node.name)
    with capsys.disabled():
        print(f"\na new node lost its taint after {ready - begun:.1f} s and had the model after {staged - begun:.1f} s")
    volume.wait_status(nodes="3/3")
    kube.wait_for(lambda: kube.get("modelnode", node.name) is None, 120, "its ModelNode is gone")


def test_a_node_that_the_selector_no_longer_matches_is_not_wanted_any_more(library: Library) -> None:
    kube = library.kube
    with labelled(kube, "e2e/warm=yes", "node1", "node2"):
        volume = library.claimed("selected", warmReplicas="all", warmNodeSelector="e2e/warm=yes")
        volume.wait_staged("node1", "node2")
        kube.kubectl("label", "node", "node1", "e2e/warm-")
        volume.wait_status(nodes="1/1")
        volume.wait_wanted("node2")
        with labelled(kube, "e2e/warm=yes", "node3"):
            volume.wait_status(nodes="2/2")
            volume.wait_wanted("node2", "node3")


def test_more_nodes_than_there_are_is_said(library: Library) -> None:
    volume = library.claimed("many", warmReplicas="5")
    volume.wait_staged(*NODE_NAMES)
    volume.wait_status(nodes="3/5")
    placed = volume.condition("Placed")
    assert placed["status"] == "False"
    assert "5" in placed["message"]


# --- A model that the claim names ---


@pytest.fixture(scope="module")
def named(library: Library) -> str:
    """Return a class from whose public models each claim names its own."""
    source = "${pvc.annotations['" + SOURCE + "']}"
    return library.classed(source, allowedSources=f"s3://{BUCKET}/public/*", warmReplicas="1")


def test_claims_of_one_class_name_their_models_themselves(library: Library, named: str) -> None:
    kube = library.kube
    models = {name: library.put(f"public/{name}", 2 * MIB) for name in ("llama", "qwen")}
    for name, model in models.items():
        kube.apply(claim(f"my-{name}", named, annotations={SOURCE: model.source}), with_claim(name, f"my-{name}"))
    for name, model in models.items():
        kube.pod_ready(name)
        assert reads_exactly(kube, name, model)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("climbs", f"s3://{BUCKET}/public/../private"),
        ("beside", f"s3://{BUCKET}/private"),
        ("below", f"s3://{BUCKET}/public/a/b"),
        ("other-bucket", "s3://placement/public/llama"),
        ("template", f"s3://{BUCKET}/public/${{pvc.name}}"),
        ("nested", f"s3://{BUCKET}/public/${{pvc.annotations['other']}}"),
        ("glob", f"s3://{BUCKET}/public/*"),
        ("query", f"s3://{BUCKET}/public/llama?endpoint=http://elsewhere"),
        ("control", f"s3://{BUCKET}/public/lla\nma"),
        ("empty", ""),
    ],
)
def test_a_hostile_annotation_is_refused_and_says_why(library: Library, named: str, name: str, source: str) -> None:
    kube = library.kube
    kube.apply(claim(name, named, annotations={SOURCE: source, "other": "llama"}))
    said = kube.event("pvc", name, "ProvisioningFailed", "InvalidArgument")["message"]
    assert SOURCE in said or "source" in said, said
    assert (kube.get("pvc", name) or {})["status"]["phase"] == "Pending"


def test_a_claim_without_the_annotation_is_told_which_one_is_missing(library: Library, named: str) -> None:
    library.kube.apply(claim("silent", named))
    library.kube.event("pvc", "silent", "ProvisioningFailed", SOURCE)


def test_a_class_with_a_secret_cannot_be_warmed_ahead_and_says_why(library: Library) -> None:
    kube, model = library.kube, library.put("secret")
    key = library.store.reader("warming-reader", BUCKET)
    kube.apply(secret("warming-reader", key))
    for parameters in ({"warmReplicas": "1"}, {"placement": "require"}):
        name = f"{BUCKET}-{nonce()}{nonce()}"
        place = (kube.namespace, "warming-reader")
        kube.apply(storage_class(name, model.source, secret=place, parameters=parameters), claim(name, name))
        kube.event("pvc", name, "ProvisioningFailed", "InvalidArgument", *parameters, "auth")


# --- A rollout ---


def test_a_new_revision_that_was_staged_ahead_is_rolled_out_without_waiting(
    library: Library, way: SlowWay, capsys: pytest.CaptureFixture[str]
) -> None:
    kube = library.kube
    way.slow(RATE)
    library.staged("v1", *NODE_NAMES)
    spread = {
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "server"}},
    }  # fmt: skip
    wanted = deployment("server", "v1", replicas=3, topologySpreadConstraints=[spread])
    wanted["spec"]["strategy"] = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    with deployed(kube, wanted):
        kube.rolled_out("deployment", "server")
        cold = library.claimed("v2-cold", NEXT, endpoint=way.endpoint)
        assert cold.name
        took, came = {}, {}
        took["cold"], came["cold"] = rolled_over(kube, way, wanted, "v2-cold")
        warm = library.claimed("v3-warm", NEXT, endpoint=way.endpoint, warmReplicas="3")
        warm.wait_staged(*NODE_NAMES)
        assert {claims_of(one) for one in pods_of(kube, "server")} == {"v2-cold"}, "the old one serves"
        took["warm"], came["warm"] = rolled_over(kube, way, wanted, "v3-warm")
        with capsys.disabled():
            print(f"\nrollout of {NEXT / 1e6:.0f} MB at {RATE / 1e6:.0f} MB/s to 3 pods, one after the other: {took}")
        assert came["cold"] > 3 * NEXT, "pods of the cold one wait, each for its node's copy"
        assert came["warm"] == 0, "those of the warm one wait for nothing to come"


def rolled_over(kube: Kube, way: SlowWay, wanted: Object, name: str) -> tuple[float, int]:
    """Give a Deployment's pods another claim; return the seconds and the store's bytes until all are new and ready."""
    spec = wanted["spec"]["template"]["spec"]
    spec["volumes"][0]["persistentVolumeClaim"]["claimName"] = name
    begun, before = time.monotonic(), way.passed().bytes
    kube.apply(wanted)
    kube.rolled_out("deployment", "server", 300)
    return round(time.monotonic() - begun, 1), way.passed().bytes - before


def claims_of(pod: Object) -> str:
    return str(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"])


def annotation(kube: Kube, name: str) -> str:
    return str((kube.get("pvc", name) or {})["metadata"].get("annotations", {}).get(ANNOTATION, ""))


def taints(node: Object) -> list[Object]:
    return [{"key": one["key"], "effect": one["effect"]} for one in node["spec"].get("taints", []) if one["key"]]


def table(said: str) -> list[dict[str, str]]:
    """Read what kubectl prints as a table, by its headings."""
    head, *lines = said.splitlines()
    names = head.split()
    starts = [head.index(name) for name in names]
    ends = [*starts[1:], None]
    return [
        {name: line[begin:end].strip() for name, begin, end in zip(names, starts, ends, strict=True)} for line in lines
    ]
