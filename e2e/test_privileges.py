"""What the driver's processes may do on a node, and what they leave of the keys that they were given: nothing."""

from collections.abc import Iterator

import pytest

from csi_model.node.privileges import CAPABILITIES, NEEDED
from e2e.driver import Driver
from e2e.kube import Kube, claim, namespace, with_claim
from e2e.object_store import Key, ObjectStore
from e2e.volumes import agent_name, secret, storage_class

NODE = "node2"
STORE = "/var/lib/csi-model"
BUCKET = "privileges"


def test_an_agents_processes_have_the_one_capability_that_is_listed(driver: Driver) -> None:
    listed = sum(1 << CAPABILITIES[name] for name in NEEDED)
    for status in statuses(driver, agent_name(driver.kube, "node1")):
        assert [int(status[f"Cap{which}"], 16) for which in ("Eff", "Prm", "Bnd")] == [listed] * 3
        assert [int(status[f"Cap{which}"], 16) for which in ("Inh", "Amb")] == [0, 0]
        assert status["NoNewPrivs"] == "1"


def test_the_controllers_processes_are_nobody_and_have_no_capability(driver: Driver) -> None:
    for status in statuses(driver, controller_pod(driver)):
        assert set(status["Uid"].split()) == {"65532"}
        assert [int(status[f"Cap{which}"], 16) for which in ("Eff", "Prm", "Bnd", "Inh", "Amb")] == [0] * 5
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"  # filtered


@pytest.mark.parametrize("part", ["node", "controller"])
def test_a_root_file_system_cannot_be_written(driver: Driver, part: str) -> None:
    pod = agent_name(driver.kube, "node1") if part == "node" else controller_pod(driver)
    said = driver.kube.execute(pod, "sh", "-c", "touch /new 2>&1; true", container="csi-model")
    assert "Read-only file system" in said


def controller_pod(driver: Driver) -> str:
    return str(driver.pods("controller")[0]["metadata"]["name"])


def statuses(driver: Driver, pod: str) -> list[dict[str, str]]:
    """Return /proc/<pid>/status of a container's processes, PID 1 and its children, but not of those that look."""
    said = driver.kube.execute(pod, "sh", "-c", "cat /proc/[0-9]*/status", container="csi-model", check=False)
    found = [dict(line.split(":\t", 1) for line in block.splitlines() if ":\t" in line) for block in split(said)]
    ours = [status for status in found if "1" in (status["Pid"], status["PPid"])]
    assert any(status["Pid"] == "1" for status in ours), said
    return ours


def split(statuses: str) -> list[str]:
    return [f"Name:{block}" for block in ("\n" + statuses).split("\nName:")[1:]]


# --- Keys ---


@pytest.fixture(scope="module")
def staged(driver: Driver, object_store: ObjectStore) -> Iterator[tuple[Kube, Key]]:
    """A pod that reads a model, one that can't since its key is wrong, and the key."""
    model = object_store.put_model(BUCKET, "model", {"weights": 8 * 1024 * 1024, "config.json": 700})
    right = object_store.reader("privileges-reader", BUCKET)
    wrong = Key(right.access, "privileges-reader-wrong-key")
    with namespace(driver.kube, "privileges") as kube:
        for name, key in (("right", right), ("wrong", wrong)):
            kube.apply(
                secret(name, key),
                storage_class(f"privileges-{name}", model.source, secret=("privileges", name)),
                claim(name, f"privileges-{name}"),
                with_claim(name, name, node=NODE),
            )
        kube.pod_ready("right", 120)
        kube.event("pvc", "wrong", "ProvisioningFailed")
        yield kube, right
        for name in ("right", "wrong"):
            kube.delete("storageclass", f"privileges-{name}")


def test_no_key_is_in_a_log_or_an_object(driver: Driver, staged: tuple[Kube, Key]) -> None:
    kube, key = staged
    told = {pod["metadata"]["name"]: driver.kube.logs(pod["metadata"]["name"]) for pod in driver.pods()}
    for kind in ("modelvolumes", "persistentvolumes", "persistentvolumeclaims", "events"):
        told[kind] = kube.kubectl("get", kind, "--all-namespaces", "-o", "yaml")
    assert f"s3://{BUCKET}/model" in told["modelvolumes"] + told["events"]
    assert f"s3://{BUCKET}/model" in told[agent_name(driver.kube, NODE)]
    assert [name for name, text in told.items() if key.secret in text or "privileges-reader-wrong-key" in text] == []


def test_no_key_is_on_a_nodes_disk(driver: Driver, staged: tuple[Kube, Key]) -> None:
    assert files_with(driver, f"s3://{BUCKET}/model")
    assert files_with(driver, staged[1].secret) == []


def files_with(driver: Driver, text: str) -> list[str]:
    return driver.cluster.node(NODE).run("grep", "-rlF", text, STORE, check=False).split()
