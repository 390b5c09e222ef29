"""Volumes that stand in pods, through the driver's socket."""

import pytest

from csi_model.rpc.client import Refused
from tests.harness import MODEL, SECRETS, Driver, content, served_model
from tests.integration.pod import Pod

FILES = {name: content(name, size) for name, size in MODEL.items()}


@pytest.fixture
def s3(tmp_path):
    with served_model(tmp_path / "s3") as server:
        yield server


@pytest.fixture
def driver(tmp_path, mounts, s3):
    allowed = ("--inline-allow", "s3://models/**", "--inline-endpoint", s3.url)
    with Driver(tmp_path, *allowed) as driver:
        yield driver
        driver.kill()
    for target in mounts.table():
        if target.is_relative_to(tmp_path):
            mounts.unmount(target)


@pytest.fixture
def pod(driver, s3, tmp_path):
    """A function that makes a pod."""

    def make(name="pod-1", *, secrets=SECRETS, **attributes):
        words = {"source": "s3://models/tiny", "endpoint": s3.url, **attributes}
        return Pod(driver, tmp_path / "kubelet", name, words, secrets)

    return make


def holds(driver):
    return list((driver.store / "holds").iterdir())


def test_a_pod_reads_exactly_the_models_files_and_leaves_nothing(pod, driver):
    one = pod()
    assert one.publish() == FILES
    assert one.stats() == {1: sum(MODEL.values()), 2: len(MODEL)}
    one.unpublish()
    assert holds(driver) == []


def test_a_second_pod_fetches_nothing(pod, s3):
    pod("pod-1").publish()
    s3.requests.clear()
    assert pod("pod-2").publish() == FILES
    assert not [r for r in s3.requests if r.method == "GET" and r.range not in (None, "bytes=0-0")]


def test_a_killed_driver_takes_nothing_from_the_pod_and_asks_nobody_to_publish_again(pod, driver, s3):
    one = pod()
    one.publish()
    driver.kill()
    s3.denied.add(("GET", "models", ""))
    driver.start()
    assert one.publish() == FILES
    one.unpublish()
    assert holds(driver) == []


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("INVALID_ARGUMENT", {"source": "s3://other/tiny"}),
        ("INVALID_ARGUMENT", {"endpoint": "http://127.0.0.1:1"}),
        ("INVALID_ARGUMENT", {"auth": "ambient"}),
        ("INVALID_ARGUMENT", {"revision": "0" * 64}),
        ("NOT_FOUND", {"source": "s3://models/nothing"}),
        ("UNAUTHENTICATED", {"secrets": {}}),
        ("UNAUTHENTICATED", {"secrets": {"accessKeyId": "who", "secretAccessKey": "knows"}}),
    ],
)
def test_what_a_pod_may_not_have_is_refused_for_good_and_leaves_nothing(pod, driver, code, change):
    with pytest.raises(Refused) as refused:
        pod(**change).publish()
    assert refused.value.code == code
    assert holds(driver) == []
