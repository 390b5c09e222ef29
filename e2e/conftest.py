"""The suite's fixtures: one cluster for the session, the driver in it, an object store beside it."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import object_store as stores
from e2e import reports
from e2e.cluster import cluster as clusters
from e2e.cluster.cluster import Cluster
from e2e.cluster.lock import InUse
from e2e.driver import Driver
from e2e.kube import Kube, namespace
from e2e.object_store import ObjectStore
from hack.fetching import NotFetched

_CLUSTER = pytest.StashKey[Cluster]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("e2e")
    group.addoption("--keep-cluster", action="store_true", help="leave the cluster up, and use the one that is up")
    group.addoption("--keep-driver", action="store_true", help="don't touch the driver that is installed")
    group.addoption("--nodes", type=int, default=3, help="number of nodes of a new cluster")


def pytest_configure() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # fixtures are torn down


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The harness first: what follows stands on it. Upgrades last: they take the driver away from everybody
    items.sort(key=lambda item: {"test_cluster.py": -1, "test_upgrade.py": 1}.get(item.path.name, 0))


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The cluster, with its nodes Ready."""
    config = request.config
    try:
        with clusters.running(config.getoption("--nodes"), keep=config.getoption("--keep-cluster")) as found:
            config.stash[_CLUSTER] = found
            yield found
    except (clusters.Unfit, InUse, NotFetched) as error:
        pytest.exit(str(error), returncode=2)


@pytest.fixture(scope="session")
def driver(cluster: Cluster, request: pytest.FixtureRequest) -> Driver:
    """The driver, as its chart installs it, with all its pods Ready."""
    found = Driver(cluster)
    if not request.config.getoption("--keep-driver"):
        found.install()
    return found


@pytest.fixture(scope="session")
def object_store(cluster: Cluster) -> ObjectStore:
    """The object store, running."""
    store = ObjectStore()
    store.start()
    return store


@pytest.fixture
def kube(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Kube]:
    """The API, in a namespace that is the test's own."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")
    with namespace(Kube(cluster), f"{name}-{reports.nonce()}") as inside:
        yield inside


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    found = item.config.stash.get(_CLUSTER, None)
    if report.failed and found:
        folder = reports.collect(found, item.name)
        report.sections.append(("the cluster", f"logs are in {folder}\n{reports.excerpt(folder)}"))
    return report


def pytest_report_header() -> str:
    return f"e2e: cluster in {clusters.place.STATE}, programs in {Path(stores.programs.fetching.CACHE)}"
