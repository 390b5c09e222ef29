import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_model.demo.s3server import S3Server
from csi_model.rpc.client import Refused
from tests.cli.conftest import parameters
from tests.harness import PATIENCE, Driver

Drive = Callable[..., Driver]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_and_no_socket_stays(drive: Drive, number: int) -> None:
    driver = drive().ready()
    assert driver.stop(number) == 0
    assert not driver.socket.exists()
    assert not (driver.store / "admin.sock").exists()


def test_after_kill_9_the_next_one_starts(drive: Drive) -> None:
    killed = drive().ready()
    assert killed.stop(signal.SIGKILL) == -signal.SIGKILL
    assert killed.socket.exists()
    drive().ready()


def test_a_second_driver_on_a_store_is_told_so(drive: Drive, tmp_path: Path) -> None:
    first = drive().ready()
    second = drive("--endpoint", f"unix://{tmp_path}/other.sock")
    code, said = second.ended()
    assert code == 1
    assert said.splitlines()[-1] == (
        f"csi-model: another agent (process {first.process.pid}) owns the store {first.store}"
    )
    first.ready()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--endpoint", "tcp://127.0.0.1:1"], 2, "is not a Unix socket"),
        (["--endpoint", "unix:///nonexistent/csi.sock"], 2, "is not a directory"),
        (["--store", "/nonexistent/store"], 1, "/nonexistent/store"),
        (["--node-id", ""], 2, "node id"),
    ],
)
def test_what_keeps_it_from_starting_is_one_line(drive: Drive, arguments: list[str], code: int, words: str) -> None:
    driver = drive(*arguments)
    status, said = driver.ended()
    assert (status, said.count("\n")) == (code, 1)
    assert said.startswith("csi-model: ")
    assert words in said


def test_a_store_that_is_not_mounted_is_refused(drive: Drive, tmp_path: Path) -> None:
    code, said = drive("--require-mount", str(tmp_path)).ended()
    assert code == 1
    assert said == f"csi-model: {tmp_path} is not mounted: mount the store's disk there, or unset the required mount\n"


def test_csi_endpoint_is_honoured(drive: Drive, tmp_path: Path) -> None:
    drive(environment={"CSI_ENDPOINT": f"unix://{tmp_path}/csi.sock"}).ready()


def test_a_controller_has_no_store_and_no_node_service(drive: Drive) -> None:
    driver = drive("--mode", "controller").ready()
    with driver.client() as client, pytest.raises(Refused, match="UNIMPLEMENTED"):
        client.call("NodeGetInfo", timeout=PATIENCE)
    assert not driver.store.exists()


def test_a_node_finds_what_a_controller_beside_it_made(drive: Drive, s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "controller").mkdir()
    shared = ("--registry", str(tmp_path / "shared"))
    controller = drive("--mode", "controller", *shared, directory=tmp_path / "controller").ready()
    node = drive("--mode", "node", *shared).ready()
    volume = controller.kubelet().create("pvc-1", parameters(s3, "one"))
    node.kubelet().stage(volume)
    assert list(node.store.glob("trees/*/root/weights.bin"))


def test_sigterm_in_a_warm_up_answers_the_call_and_the_next_life_goes_on(drive: Drive, s3: S3Server) -> None:
    driver = drive().ready()
    volume = driver.kubelet().create("pvc-1", parameters(s3, "one"))
    s3.rate = 10_000
    refusals: list[Refused] = []
    waiting = threading.Thread(target=lambda: refusals.append(_refusal(driver, volume)))
    waiting.start()
    while not any(request.key.endswith("weights.bin") and request.method == "GET" for request in s3.requests[2:]):
        time.sleep(0.02)  # the request is the other process's: there is nothing of ours to wait on
    began = time.monotonic()
    assert driver.stop() == 0
    assert time.monotonic() - began < 8
    waiting.join()
    assert refusals[0].code == "ABORTED"
    s3.rate = None
    drive().ready().kubelet().stage(volume)


def _refusal(driver: Driver, volume: object) -> Refused:
    with pytest.raises(Refused) as caught:
        driver.kubelet(repeat_after=frozenset()).stage(volume)
    return caught.value


BROKEN = """
import sys
from pathlib import Path
from csi_model.cli.daemon import Plan, run
from csi_model.node.agent import NodeAgent
from csi_model.settings import Settings, StoreSettings

NodeAgent.collect_holds = lambda self: 1 // 0
root = Path(sys.argv[1])
plan = Plan("all", f"unix://{root}/csi.sock", "node-1", root / "registry", Settings(StoreSettings(root / "store")))
sys.exit(run(plan))
"""


def test_when_a_thread_dies_the_process_ends_with_1(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", BROKEN, str(tmp_path)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert result.returncode == 1
    assert "thread housekeeping died" in result.stderr
