"""What people and programs that watch the driver see."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_model import __version__
from csi_model.rpc.node import TOPOLOGY_KEY
from e2e import reports
from e2e.driver import Driver
from e2e.kube import Kube, Object, claim, namespace, with_claim
from e2e.object_store import Model, ObjectStore
from e2e.volumes import agent_name, agent_on, fetched, metric, storage_class

NODE = "node3"
PORT = 9808
COLUMNS = (
    "NAME", "NAMESPACE", "CLAIM", "SOURCE", "REVISION", "SIZE", "PLACEMENT", "NODES", "PROGRESS", "AGE", "FILES",
    "VOLUME",
)  # fmt: skip
BUCKET = "observed"
METRICS = Path(__file__).parent.parent / "docs" / "metrics.md"


@pytest.fixture(scope="module")
def model(object_store: ObjectStore) -> Model:
    # New bytes each time: a kept cluster may have those of an earlier run
    sizes = {"weights": 9 * 1024 * 1024, "config.json": 700}
    found = object_store.put_model(BUCKET, "model", sizes, seed=int(reports.nonce(), 16))
    object_store.publish(BUCKET)
    return found


@pytest.fixture(scope="module")
def staged(driver: Driver, model: Model) -> Iterator[Kube]:
    """A namespace with a pod `reader` that reads the model on NODE; its claim is `watched`."""
    with namespace(driver.kube, "observed") as kube:
        kube.apply(storage_class("observed", model.source), claim("watched", "observed"))
        kube.apply(with_claim("reader", "watched", node=NODE))
        kube.pod_ready("reader", 120)
        yield kube
        kube.delete("storageclass", "observed")


@pytest.mark.parametrize("part", ["node", "controller"])
@pytest.mark.parametrize("page", ["/healthz", "/readyz"])
def test_every_pod_says_that_it_is_well(driver: Driver, part: str, page: str) -> None:
    pods = driver.pods(part)
    assert pods
    assert [asked(pod, page) for pod in pods] == [(http.client.OK, "ok\n")] * len(pods)


@pytest.mark.parametrize("part", ["node", "controller"])
def test_metrics_are_those_that_are_documented(driver: Driver, staged: Kube, part: str) -> None:
    status, page = asked(driver.pods(part)[0], "/metrics")
    shown = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE csi_model_")}
    assert (status, shown) == (http.client.OK, documented(part))
    assert f'csi_model_build_info{{version="{__version__}"}} 1.0' in page


def test_metrics_count_a_staging(driver: Driver, staged: Kube, model: Model) -> None:
    page = asked(agent_on(staged, NODE), "/metrics")[1]
    assert fetched(staged, NODE) >= model.size
    assert metric(staged, NODE, "csi_model_stage_seconds_count") >= 1
    assert 'csi_model_rpc_seconds_count{code="OK",method="NodeStageVolume"}' in page


def test_model_volumes_are_listed_for_people(staged: Kube, model: Model) -> None:
    names, *rows = staged.kubectl("get", "modelvolumes", "-o", "wide").splitlines()
    assert tuple(names.split()) == COLUMNS
    [row] = [row for row in rows if "watched" in row.split()]
    assert model.source in row
    assert "9.44 MB" in row


def test_status_tells_what_a_node_holds(driver: Driver, staged: Kube, model: Model) -> None:
    said = driver.kube.kubectl("exec", "ds/csi-model-node", "--", "csi-model", "status")
    assert "/var/lib/csi-model/store" in said
    assert model.source in driver.kube.execute(agent_name(driver.kube, NODE), "csi-model", "status")


def test_a_nodes_name_is_its_topology(driver: Driver) -> None:
    for node in driver.cluster.nodes:
        entry = {"name": driver.name, "nodeID": node.name, "topologyKeys": [TOPOLOGY_KEY]}
        assert driver_entry(driver, node.name) == entry
        labels = driver.kube.all("nodes", fields=f"metadata.name={node.name}")[0]["metadata"]["labels"]
        assert labels[TOPOLOGY_KEY] == node.name


def test_an_agent_that_comes_back_registers_as_the_same(driver: Driver, staged: Kube) -> None:
    before, entry = agent_on(staged, NODE), driver_entry(driver, NODE)
    driver.kube.delete("pod", before["metadata"]["name"])
    after = agent_on(staged, NODE)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    driver.kube.wait_for(lambda: driver_entry(driver, NODE), 30, "the driver is registered again")
    assert driver_entry(driver, NODE) == entry
    staged.apply(with_claim("reader-2", "watched", node=NODE))
    staged.pod_ready("reader-2")


def asked(pod: Object, page: str) -> tuple[int, str]:
    """Return status and body of a page, asked at the pod's own address."""
    connection = http.client.HTTPConnection(pod["status"]["podIP"], PORT, timeout=10)
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def documented(part: str) -> set[str]:
    """Return the names of the metrics that docs/metrics.md has for a part of the driver."""
    rows = [line.split(" | ") for line in METRICS.read_text().splitlines() if line.startswith("| `csi_model_")]
    return {name.strip("|` ") for name, _, _, where, _ in rows if where in ("all", part)}


def driver_entry(driver: Driver, node: str) -> Object | None:
    """Return the driver's entry in a node's CSINode."""
    entries = json.loads(driver.kube.kubectl("get", "csinode", node, "-o", "json"))["spec"].get("drivers") or []
    found = [entry for entry in entries if entry["name"] == driver.name]
    assert len(found) < 2  # never twice
    return found[0] if found else None
