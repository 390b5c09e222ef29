"""``serve --registry kubernetes``: whole processes, an API server, an object store and a kubelet that are fakes."""

import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi_model.demo.kubelet import Volume
from csi_model.demo.s3server import S3Server
from csi_model.rpc.client import Refused, read_only_mount
from csi_model.rpc.metrics import REGISTERED, TABLE
from tests.cli.conftest import parameters
from tests.cluster.pvs import PATH, RECORDS, pv
from tests.fakes.apiserver import ApiServer
from tests.fakes.kubelet_plugins import KubeletPlugins
from tests.harness import PATIENCE, Driver

Drive = Callable[..., Driver]
UID = "5f0c2b3e-0000-4000-8000-000000000001"
CLAIM = {"csi.storage.k8s.io/pvc/namespace": "team", "csi.storage.k8s.io/pvc/name": "qwen"}
_PORT = re.compile(r"health and metrics: port (\d+)")


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def join(api: ApiServer, drive: Drive, tmp_path: Path) -> Drive:
    """Launches drivers that belong to a cluster; they end before the API does."""

    def launch(mode: str, *options: str, api: ApiServer = api) -> Driver:
        directory = tmp_path / f"{mode}-{len(list(tmp_path.iterdir()))}"
        directory.mkdir()
        config = api.kubeconfig(directory)
        everything = ("--mode", mode, "--endpoint", f"unix://{directory}/csi.sock", "--registry", "kubernetes")
        return drive(
            *everything, "--http", "127.0.0.1:0", *options, directory=directory, environment={"KUBECONFIG": str(config)}
        )

    return launch


def page(driver: Driver, path: str) -> tuple[int, str]:
    """Get a page of a driver."""
    found = wait_for(lambda: _PORT.search(driver.log.read_text()))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def wait_for(look):
    """Look until there is something: what happens is another process's."""
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def create(driver: Driver, s3: S3Server, name: str = f"pvc-{UID}", **more: str) -> Volume:
    return driver.kubelet().create(name, parameters(s3, "one") | more)


def test_a_node_stages_what_the_controllers_objects_tell(join: Drive, api: ApiServer, s3: S3Server) -> None:
    volume = create(join("controller").ready(), s3)
    (record,) = api.all(RECORDS)
    assert (record["metadata"]["name"], record["spec"]["source"]) == (volume.volume_id, "s3://models/one")
    node = join("node").ready()
    node.kubelet().stage(volume)
    assert list(node.store.glob("trees/*/root/weights.bin"))


def test_the_claim_hears_of_its_staging(join: Drive, api: ApiServer, s3: S3Server) -> None:
    volume = create(join("controller").ready(), s3, **CLAIM)
    join("node").ready().kubelet().stage(volume)
    staged = wait_for(lambda: [e for e in api.all("/api/v1/namespaces/team/events") if e["reason"] == "Staged"])
    assert staged[0]["involvedObject"]["uid"] == UID
    assert "on node-1" in staged[0]["message"]


def test_a_static_volume_that_is_allowed_is_recorded_and_staged(join: Drive, api: ApiServer, s3: S3Server) -> None:
    context = parameters(s3, "two")
    api.create(PATH, pv("static", context=context))
    join("controller", "--static-allow", "s3://models/**", "--static-endpoint", s3.url)
    node = join("node").ready()
    wait_for(lambda: api.all(RECORDS))
    node.kubelet().stage(Volume("static", 0, context, {}))


def test_a_static_volume_that_is_not_allowed_is_not_recorded(join: Drive, api: ApiServer, s3: S3Server) -> None:
    api.create(PATH, pv("static", context=parameters(s3, "two")))
    join("controller", "--static-allow", "s3://other/**", "--static-endpoint", s3.url)
    (event,) = wait_for(lambda: api.all("/api/v1/namespaces/default/events"))
    assert "which isn't allowed here" in event["message"]
    assert not api.all(RECORDS)


def test_kubelet_registers_the_node_and_then_it_is_ready(join: Drive, tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    node = join("node", "--plugins-registry", str(plugins)).ready()
    status, text = page(node, "/readyz")
    assert status == 503
    assert "not registered with kubelet" in text
    assert page(node, "/healthz") == (200, "ok\n")
    with KubeletPlugins(plugins) as kubelet:
        kubelet.wait_until(lambda k: k.drivers == {"csi-model.io": "node-1"})
        assert kubelet.infos[0].endpoint == str(node.socket)
        wait_for(lambda: page(node, "/readyz") == (200, "ok\n"))
        assert "csi_model_registered 1.0" in page(node, "/metrics")[1]
        assert node.stop() == 0
        assert list(plugins.iterdir()) == []
        kubelet.wait_until(lambda k: not k.drivers)


def test_metrics_tell_what_was_staged(join: Drive, s3: S3Server) -> None:
    volume = create(join("controller").ready(), s3)
    node = join("node").ready()
    node.kubelet().stage(volume)
    lines = page(node, "/metrics")[1].splitlines()
    size = 256 * 1024 + 2
    assert 'csi_model_stage_seconds_count{outcome="staged"} 1.0' in lines
    assert f"csi_model_fetched_bytes_total {float(size)}" in lines
    named = {line.partition("{")[0].partition(" ")[0].removesuffix("_count") for line in lines}
    assert named >= {metric.name for metric in TABLE if metric.where != "controller"} - {REGISTERED.name}


def test_with_a_dead_api_it_answers_and_tells_why_it_can_not(join: Drive) -> None:
    with ApiServer() as dead:
        pass
    driver = join("all", api=dead).ready()
    assert driver.cpu_to_probe < 1.5
    wait_for(lambda: page(driver, "/readyz") == (200, "ok\n"))
    with driver.client() as client, pytest.raises(Refused, match="Kubernetes API") as caught:
        client.call(
            "NodeStageVolume", timeout=PATIENCE, volume_id="m", staging_target_path=str(driver.work),
            volume_capability=read_only_mount(), volume_context={"source": "s3://models/one"},
        )  # fmt: skip
    assert caught.value.code == "UNAVAILABLE"
    began = time.monotonic()
    assert driver.stop() == 0
    assert time.monotonic() - began < 8


def test_an_api_that_says_nothing_does_not_keep_it_from_ending(join: Drive, api: ApiServer) -> None:
    api.failures += [-2] * 20
    driver = join("all").ready()
    wait_for(lambda: api.requests)
    began = time.monotonic()
    assert driver.stop() == 0
    assert time.monotonic() - began < 8


def test_without_a_way_to_the_api_it_says_so(drive: Drive, tmp_path: Path) -> None:
    driver = drive(
        "--endpoint", f"unix://{tmp_path}/csi.sock", "--registry", "kubernetes", "--http", "127.0.0.1:0",
        environment={"KUBECONFIG": "/nonexistent", "HOME": str(tmp_path)},
    ).ready()  # fmt: skip
    wait_for(lambda: "no way to the Kubernetes API" in page(driver, "/readyz")[1])
    assert page(driver, "/healthz")[0] == 200


def test_a_wrong_address_or_allow_list_is_told(drive: Drive, tmp_path: Path) -> None:
    for number, wrong in enumerate((["--http", "9808"], ["--inline-allow", "models"], ["--static-endpoint", "x"])):
        (tmp_path / str(number)).mkdir()
        code, said = drive(*wrong, directory=tmp_path / str(number)).ended()
        assert (code, said.count("\n")) == (2, 1), said


def test_a_port_that_is_taken_is_one_line(join: Drive) -> None:
    first = join("controller").ready()
    port = wait_for(lambda: _PORT.search(first.log.read_text()))[1]
    code, said = join("controller", "--http", f"127.0.0.1:{port}").ended()
    assert (code, said.count("\n")) == (1, 1)
    assert f"can't listen on 127.0.0.1:{port}" in said


def test_a_node_drops_the_capabilities_that_it_does_not_need(drive: Drive, mounts: None) -> None:
    driver = drive("--drop-capabilities").ready()
    for thread in Path(f"/proc/{driver.process.pid}/task").iterdir():
        status = (thread / "status").read_text()
        for kind in ("CapEff", "CapPrm", "CapBnd"):
            assert int(re.search(rf"{kind}:\s+(\w+)", status)[1], 16) == 1 << 21  # CAP_SYS_ADMIN
    assert driver.stop(signal.SIGTERM) == 0
