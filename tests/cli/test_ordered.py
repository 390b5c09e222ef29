"""A node that belongs to a cluster, and its ModelNode: whole processes, an API server and an object store."""

import re
from collections.abc import Iterator

import pytest

from csi_model.cluster.facts import Guarded
from csi_model.cluster.model_node import PATH, heartbeat_of, parse_report, render, render_spec
from csi_model.core.copies import Copy, Guard, NodeReport, Wanted
from csi_model.core.warmth import Warmth
from csi_model.demo.kubelet import Volume
from csi_model.demo.s3server import S3Server
from tests.cli.conftest import parameters
from tests.cluster.pvs import RECORDS
from tests.fakes.apiserver import ApiServer
from tests.harness import PATIENCE, Driver

NODE = f"{PATH}/node-1"


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def join(api, drive, tmp_path):
    def launch(mode: str, *options: str) -> Driver:
        directory = tmp_path / mode
        directory.mkdir(exist_ok=True)
        return drive(
            "--mode", mode, "--endpoint", f"unix://{directory}/csi.sock", "--registry", "kubernetes", *options,
            directory=directory, environment={"KUBECONFIG": str(api.kubeconfig(directory))},
        )  # fmt: skip

    return launch


@pytest.fixture
def volume(join, api, s3: S3Server) -> Volume:
    """A recorded volume, whose controller has ended: nobody but the test writes orders."""
    controller = join("controller").ready()
    made = controller.kubelet().create("pvc-5f0c2b3e-0000-4000-8000-000000000001", parameters(s3, "one"))
    assert controller.stop() == 0
    api.create(PATH, render("node-1", "uid-of-node"))
    return made


def revision(api: ApiServer) -> str:
    return api.all(RECORDS)[0]["spec"]["revision"]


def order(api: ApiServer, *wanted: Wanted, **guarded: Guard) -> None:
    states = {revision(api): Guarded(guard, 5.0) for guard in guarded.values()}
    api.patch(NODE, {"spec": render_spec(wanted, states)})


def report_when(api: ApiServer, so) -> NodeReport:
    def report() -> NodeReport | None:
        return parse_report(api.all(PATH)[0])

    with api.objects.changed:
        assert api.objects.changed.wait_for(lambda: report() and so(report()), PATIENCE), report()
        return report()


def staged(report: NodeReport) -> bool:
    return [copy.warmth for copy in report.copies] == [Warmth.STAGED]


def nothing(report: NodeReport) -> bool:
    return not report.copies


def trees(driver: Driver) -> list[str]:
    return [path.parent.name for path in driver.store.glob("trees/*/root")]


def test_what_is_ordered_is_staged_with_no_pod_and_reported(join, api, volume):
    node = join("node").ready()
    order(api, Wanted(revision(api), volume.volume_id))
    [copy] = report_when(api, staged).copies
    assert copy == Copy(revision(api), Warmth.STAGED, copy.bytes, present=copy.bytes, released=copy.released)
    assert trees(node) == [revision(api)]


def test_a_node_that_comes_back_reports_what_it_really_holds(join, api, volume):
    node = join("node").ready()
    order(api, Wanted(revision(api), volume.volume_id))
    report_when(api, staged)
    order(api)
    node.kill()
    (node.store / "trees" / revision(api)).rename(node.work / "lost")
    node.start()
    assert report_when(api, nothing).total > 0


def test_a_killed_node_goes_on_with_its_orders(join, api, volume):
    node = join("node").ready()
    order(api, Wanted(revision(api), volume.volume_id))
    node.kill()
    node.start()
    report_when(api, staged)
    assert trees(node) == [revision(api)]


def test_what_is_released_is_deleted_and_said_to_be_gone(join, api, volume):
    node = join("node").ready()
    order(api, Wanted(revision(api), volume.volume_id), keep=Guard.KEEP)
    report_when(api, staged)
    order(api, released=Guard.RELEASED)
    report_when(api, nothing)
    assert trees(node) == []


def test_it_gives_signs_of_life_and_says_when_it_ends(join, api, volume):
    node = join("node", "--heartbeat", "1").ready()
    report_when(api, nothing)
    first = heartbeat_of(api.all(PATH)[0])
    with api.objects.changed:
        assert api.objects.changed.wait_for(lambda: heartbeat_of(api.all(PATH)[0]) > first, PATIENCE)
    assert node.stop() == 0
    [condition] = api.all(PATH)[0]["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "Stopping")


def test_a_driver_without_a_cluster_awaits_no_orders(drive):
    driver = drive().ready()
    assert driver.stop() == 0
    assert not re.search(r"modelnodes|Kubernetes", driver.log.read_text())
