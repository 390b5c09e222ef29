"""The manuals: what docs/kubernetes.md and docs/placement.md say to write and to type works as it stands there.

Only addresses, keys, buckets and images are replaced by the test cluster's.
"""

import re
import shlex
from collections.abc import Iterator, Mapping

import pytest
import yaml

from e2e import reports
from e2e.cluster import programs
from e2e.cluster.images import BUSYBOX
from e2e.cluster.shell import run
from e2e.driver import Driver
from e2e.driver_image import ROOT
from e2e.kube import Kube, Object, namespace, pod
from e2e.object_store import Key, Model, ObjectStore
from e2e.volumes import reads_exactly, secret

KUBERNETES, PLACEMENT, TROUBLESHOOTING = "docs/kubernetes.md", "docs/placement.md", "docs/troubleshooting.md"
README = "README.md"
BUCKET, MODEL = "docs", "qwen3-8b"
OURS = "docs"  # namespace
ADMINS = ("Secret", "StorageClass", "VolumeAttributesClass")


@pytest.fixture(scope="module")
def model(object_store: ObjectStore) -> Model:
    # New bytes each time: what a kept cluster has already is staged in silence
    sizes = {"model.safetensors": 6 * 1024 * 1024, "config.json": 700}
    found = object_store.put_model(BUCKET, MODEL, sizes, seed=int(reports.nonce(), 16))
    object_store.publish(BUCKET)  # for the class that reads without a key
    return found


@pytest.fixture(scope="module")
def words(object_store: ObjectStore, model: Model) -> Mapping[str, str]:
    """What stands in the manual, and what is meant here."""
    key = object_store.reader("docs-reader", model.bucket)
    return {
        "https://minio.example.com": ObjectStore.endpoint, "s3://models/": f"s3://{model.bucket}/",
        "EXAMPLEKEY": key.access, "example-secret": key.secret, "namespace: default": f"namespace: {OURS}",
    }  # fmt: skip


@pytest.fixture(scope="module")
def manual(words: Mapping[str, str]) -> Mapping[str, Object]:
    """The objects that the manuals tell to write, by kind and name."""
    items = [*objects(KUBERNETES, words), *objects(PLACEMENT, words)]
    return {f"{item['kind']} {item['metadata']['name']}": here(item) for item in items}


@pytest.fixture(scope="module")
def kube(driver: Driver, manual: Mapping[str, Object]) -> Iterator[Kube]:
    """A user's namespace, in a cluster whose administrator has done what the manual says."""
    admins = [item for item in manual.values() if item["kind"] in ADMINS]
    driver.kube.apply(*admins)
    with namespace(driver.kube, OURS) as inside:
        yield inside
    for item in admins:
        driver.kube.delete(item["kind"], item["metadata"]["name"])


def test_a_claim_and_a_pod_are_all_that_a_user_writes(kube: Kube, manual: Mapping[str, Object], model: Model) -> None:
    kube.apply(manual["PersistentVolumeClaim qwen3-8b"], manual["Pod server"])
    kube.pod_ready("server", 120)
    assert reads_exactly(kube, "server", model)
    kube.wait_for(lambda: "staged" in kube.kubectl("describe", "pvc", MODEL), 30, "the claim tells that it was staged")
    assert columns(kube.kubectl("get", "modelvolumes"))[1:] == columns(text(KUBERNETES).partition("```\nNAME ")[2])


def test_every_namespace_brings_its_own_key(
    kube: Kube, manual: Mapping[str, Object], model: Model, words: Mapping[str, str]
) -> None:
    claim = manual["PersistentVolumeClaim qwen3-8b"]
    team_claim = {**claim, "spec": {**claim["spec"], "storageClassName": "team-models"}}
    with namespace(kube, f"{OURS}-team") as team:
        team.apply(own_secret("models-key", words), team_claim, manual["Pod server"])
        team.pod_ready("server", 120)
        assert reads_exactly(team, "server", model)


def test_a_volume_can_be_made_by_hand(kube: Kube, manual: Mapping[str, Object], model: Model) -> None:
    user = manual["Pod server"]
    volumes = [{"name": "model", "persistentVolumeClaim": {"claimName": "static", "readOnly": True}}]
    kube.apply(manual["PersistentVolume qwen3-8b-static"], manual["PersistentVolumeClaim static"])
    kube.apply({**user, "metadata": {"name": "static"}, "spec": {**user["spec"], "volumes": volumes}})
    kube.pod_ready("static", 120)
    assert reads_exactly(kube, "static", model)
    kube.delete("pod", "static", grace=1)
    kube.delete("pvc", "static")
    kube.delete("pv", "qwen3-8b-static")


def test_a_model_can_stand_in_the_pods_own_yaml(
    kube: Kube, manual: Mapping[str, Object], model: Model, words: Mapping[str, str]
) -> None:
    kube.apply(own_secret("models-key", words), manual["Pod inline"])
    kube.pod_ready("inline", 120)
    assert reads_exactly(kube, "inline", model)


def test_a_model_comes_before_the_pod_and_the_pod_goes_to_it(
    kube: Kube, manual: Mapping[str, Object], model: Model
) -> None:
    kube.apply(manual["PersistentVolumeClaim qwen3-8b-ahead"])
    claim_says(kube, "qwen3-8b-ahead", "staged on 2 of 2 nodes")
    kube.apply(manual["Pod warm"])
    kube.pod_ready("warm", 120)
    assert reads_exactly(kube, "warm", model)
    [command] = commands(PLACEMENT, "kubectl patch pvc ")
    kube.kubectl(*command[1:])
    claim_says(kube, "qwen3-8b-ahead", "staged on 3 of 3 nodes")


def test_the_readme_says_what_the_manual_says(manual: Mapping[str, Object], words: Mapping[str, str]) -> None:
    for item in objects(README, words):
        assert here(item) == manual[f"{item['kind']} {item['metadata']['name']}"]


@pytest.mark.parametrize("verb", ["install", "upgrade"])
def test_helm_takes_every_command_of_the_manual(driver: Driver, verb: str) -> None:
    found = commands(KUBERNETES, f"helm {verb} ")
    assert found
    for command in found:
        kubeconfig = f"--kubeconfig={driver.cluster.kubeconfig}"
        run(programs.helm(), *command[1:], "--dry-run=server", kubeconfig, cwd=ROOT)


def test_an_agent_takes_every_command_for_troubles(driver: Driver) -> None:
    found = commands(TROUBLESHOOTING, "kubectl -n csi-model exec ")
    assert found
    for command in found:
        driver.cluster.kubectl(*command[1:])


def claim_says(kube: Kube, claim: str, words: str) -> None:
    """Wait until a claim's annotation says how far it is."""

    def says() -> bool:
        found = kube.get("pvc", claim) or {}
        return found["metadata"].get("annotations", {}).get("csi-model.io/staged") == words

    kube.wait_for(says, 60, f"{claim} says {words!r}")


def here(item: Object) -> Object:
    """Return an object with the test cluster's image in place of a server's."""
    if item["kind"] != "Pod":
        return item
    ours = pod("any")["spec"]
    [theirs] = item["spec"]["containers"]
    container = {**theirs, **ours["containers"][0], "name": theirs["name"], "image": BUSYBOX}
    container.pop("args", None)
    return {**item, "spec": {**ours, **item["spec"], "containers": [container]}}


def own_secret(name: str, words: Mapping[str, str]) -> Object:
    return secret(name, Key(words["EXAMPLEKEY"], words["example-secret"]))


def objects(page: str, words: Mapping[str, str]) -> list[Object]:
    """Return the objects in a page's YAML blocks."""
    found = "\n---\n".join(re.findall(r"^```yaml\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL))
    for theirs, ours in words.items():
        found = found.replace(theirs, ours)
    return [item for item in yaml.safe_load_all(found) if item]


def commands(page: str, start: str) -> list[list[str]]:
    """Return the commands of a page that start so, as words."""
    joined = text(page).replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in joined.splitlines() if line.startswith(f"    {start}")]


def columns(table: str) -> list[str]:
    return table.splitlines()[0].split()


def text(page: str) -> str:
    return (ROOT / page).read_text()
