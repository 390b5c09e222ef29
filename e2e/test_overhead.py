"""What a staged model adds to the start of a pod, beside a pod with an emptyDir; measured, told, and held to a limit.

Kubelet polls every 300 ms for both kinds of pod, so at most one poll more is what a volume may cost.
"""

import re
import statistics
import time
from collections.abc import Iterator

import pytest

from e2e.driver import Driver
from e2e.kube import Kube, Object, claim, namespace, pod, with_claim
from e2e.object_store import ObjectStore
from e2e.volumes import storage_class

ROUNDS = 10
POLL = 0.3
_SAMPLE = re.compile(
    r"storage_operation_duration_seconds_(?P<of>sum|count){"
    r'.*operation_name="(?P<name>volume_mount|volume_unmount)",status="(?P<status>[^"]*)"'
)


@pytest.fixture(scope="module")
def kube(driver: Driver, object_store: ObjectStore) -> Iterator[Kube]:
    model = object_store.put_model("overhead", "model", {"weights": 8 * 1024 * 1024}, seed=4)
    object_store.publish("overhead")
    driver.kube.apply(storage_class("overhead", model.source))
    with namespace(driver.kube, "overhead") as inside:
        inside.apply(claim("model", "overhead"), with_claim("stager", "model", node="node1"))
        inside.pod_ready("stager", 120)
        yield inside


def test_a_pod_with_a_staged_model_starts_within_a_poll_of_one_without(
    kube: Kube, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = [{"name": "model", "emptyDir": {}}]
    mounts = {"volumeMounts": [{"name": "model", "mountPath": "/model"}]}
    times: dict[str, list[float]] = {"emptyDir": [], "model": []}
    for number in range(ROUNDS):
        times["emptyDir"].append(_started(kube, pod(f"empty-{number}", node="node1", volumes=empty, container=mounts)))
        times["model"].append(_started(kube, with_claim(f"model-{number}", "model", node="node1")))
    medians = {kind: statistics.median(taken) for kind, taken in times.items()}
    with capsys.disabled():
        print(f"\npod start, median of {ROUNDS}: " + ", ".join(f"{k} {v:.2f} s" for k, v in medians.items()))
        print(f"kubelet's mount operations of csi-model.io on node1: {_mount_seconds(kube)}")
    quarters = statistics.quantiles(times["emptyDir"], n=4)
    noise = quarters[2] - quarters[0]  # what starting the same pod again differs by
    assert medians["model"] - medians["emptyDir"] < POLL + noise


def _started(kube: Kube, wanted: Object) -> float:
    """Make a pod, and return the seconds until it runs."""
    name = wanted["metadata"]["name"]
    begun = time.monotonic()
    kube.apply(wanted)
    kube.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s", timeout=70)
    taken = time.monotonic() - begun
    kube.kubectl("delete", "pod", name, "--grace-period=1", "--wait=false")
    return taken


def _mount_seconds(kube: Kube) -> str:
    said = kube.kubectl("get", "--raw", "/api/v1/nodes/node1/proxy/metrics", timeout=30)
    found: dict[str, dict[str, float]] = {}
    for line in said.splitlines():
        sample = _SAMPLE.match(line)
        if sample and "csi-model.io" in line:
            found.setdefault(f"{sample['name']} {sample['status']}", {})[sample["of"]] = float(line.rpartition(" ")[2])
    return ", ".join(f"{name} {1000 * v['sum'] / v['count']:.0f} ms of {v['count']:.0f}" for name, v in found.items())
