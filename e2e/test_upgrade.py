"""Helm upgrades, rolls back, removes and brings back the driver while pods read their models.

This file runs last (see conftest.py), and leaves the release as it found it. The previous chart runs today's image.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import history, reports
from e2e.driver import CHART, RELEASE, Driver
from e2e.kube import Kube, Object, claim, namespace, with_claim
from e2e.object_store import Model, ObjectStore
from e2e.volumes import fetched, reads_exactly, storage_class

NODE = "node1"
BUCKET = "upgrade"
# Reads everything over and over and says so; ends if a read fails or gives other bytes
READER = (
    "trap exit TERM; cd /model && sums=$(sha256sum *) || exit 1; "
    'while echo "$sums" | sha256sum -c -s; do echo read; sleep 0.2; done; exit 1'
)


class Reader:
    """A pod that reads its model all the time."""

    def __init__(self, kube: Kube, name: str) -> None:
        self._kube, self._name = kube, name
        self._container = self._of(kube.pod_ready(name, 120))

    def has_noticed_nothing(self) -> bool:
        """Wait for two more readings, and tell whether they were made by the container that began."""
        kube, seen = self._kube, self._readings()
        kube.wait_for(lambda: self._readings() > seen + 1, 20, lambda: f"it reads on. {kube.story('pod', self._name)}")
        found = kube.get("pod", self._name)
        return found is not None and self._of(found) == self._container

    def _readings(self) -> int:
        return self._kube.logs(self._name).count("read\n")

    @staticmethod
    def _of(pod: Object) -> str:
        return str(pod["status"]["containerStatuses"][0]["containerID"])


class Release:
    """The release, with the values that it was found with."""

    def __init__(self, driver: Driver, values: Path) -> None:
        self.driver, self._values = driver, values
        values.write_text(driver.helm("get", "values", RELEASE, "--output", "json"))

    def upgrade(self, chart: Path, *words: str) -> None:
        """Install a chart with the values found, and wait for its pods."""
        # All agents at once, to save time; an older chart may not know each value
        more = ("--set", "node.maxUnavailable=100%", "--skip-schema-validation", *words)
        self.driver.helm("upgrade", "--install", RELEASE, str(chart), f"--values={self._values}", *more)
        self.driver.wait_ready()

    def restore(self) -> None:
        """Make it what it was."""
        self.driver.helm("upgrade", "--install", RELEASE, str(CHART), f"--values={self._values}")
        self.driver.wait_ready()


@pytest.fixture(scope="module")
def release(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    found = Release(driver, tmp_path_factory.mktemp("release") / "values.json")
    yield found
    found.restore()


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return history.previous_chart(tmp_path_factory.mktemp("chart"))


@pytest.fixture(scope="module")
def model(object_store: ObjectStore) -> Model:
    found = object_store.put_model(BUCKET, "model", {"weights": 12 * 1024 * 1024, "config.json": 700})
    object_store.publish(BUCKET)
    return found


@pytest.fixture(scope="module")
def kube(release: Release, previous: Path, model: Model) -> Iterator[Kube]:
    """A namespace with a claim `model`, made while the previous chart was installed."""
    release.upgrade(previous)
    with namespace(release.driver.kube, "upgrade") as inside:
        inside.apply(storage_class("upgrade", model.source), claim("model", "upgrade"))
        yield inside
        inside.delete("storageclass", "upgrade")


@pytest.fixture
def reader(kube: Kube) -> Iterator[Reader]:
    """A pod that reads the claim's model all the time."""
    name = f"reader-{reports.nonce()}"
    kube.apply(with_claim(name, "model", "sh", "-c", READER, node=NODE))
    yield Reader(kube, name)
    kube.delete("pod", name, grace=1)


def test_an_upgrade_and_a_rollback_are_noticed_by_nobody(
    kube: Kube, release: Release, reader: Reader, model: Model
) -> None:
    volumes = model_volumes(kube)
    release.upgrade(CHART, "--set", "node.podAnnotations.e2e=new", "--set", "controller.podAnnotations.e2e=new")
    assert reader.has_noticed_nothing()
    starts_with_nothing_fetched(kube, "upgraded", model)
    starts_with_a_claim_of_its_own(kube, "upgraded-anew", model)
    release.driver.helm("rollback", RELEASE)
    release.driver.wait_ready()
    assert reader.has_noticed_nothing()
    starts_with_nothing_fetched(kube, "rolled-back", model)
    assert volumes.items() <= model_volumes(kube).items()


def test_the_next_installation_takes_over_what_an_uninstalled_one_left(
    kube: Kube, release: Release, reader: Reader, model: Model
) -> None:
    volumes = model_volumes(kube)
    kube.apply(with_claim("leaver", "model", node=NODE))
    kube.pod_ready("leaver")
    release.driver.helm("uninstall", RELEASE, "--wait", "--cascade", "foreground")
    assert release.driver.pods() == []
    kube.kubectl("delete", "pod", "leaver", "--wait=false")
    assert reader.has_noticed_nothing()
    assert model_volumes(kube) == volumes
    release.restore()
    assert reader.has_noticed_nothing()
    assert volumes.items() <= model_volumes(kube).items()  # an older chart doesn't show each field
    starts_with_nothing_fetched(kube, "installed-again", model)
    starts_with_a_claim_of_its_own(kube, "installed-anew", model)
    kube.wait_for(lambda: kube.get("pod", "leaver") is None, 60, lambda: f"it ends. {kube.story('pod', 'leaver')}")


def model_volumes(kube: Kube) -> dict[tuple[str, str], str]:
    """Return what the ModelVolumes of the namespace's claims mean, by uid and field."""
    ours = [item for item in kube.all("modelvolumes") if item["spec"]["claim"]["namespace"] == kube.namespace]
    assert ours
    return {(item["metadata"]["uid"], name): json.dumps(it) for item in ours for name, it in item["spec"].items()}


def starts_with_nothing_fetched(kube: Kube, name: str, model: Model) -> None:
    """Start a pod of the claim, whose copy is on the node; the agent's counters began with it."""
    kube.apply(with_claim(name, "model", node=NODE))
    kube.pod_ready(name, 90)
    assert reads_exactly(kube, name, model)
    assert fetched(kube, NODE) == 0


def starts_with_a_claim_of_its_own(kube: Kube, name: str, model: Model) -> None:
    """Provision and stage a volume anew."""
    kube.apply(claim(name, "upgrade"), with_claim(name, name, node="node2"))
    kube.pod_ready(name, 90)
    assert reads_exactly(kube, name, model)
