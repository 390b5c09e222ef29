"""/healthz, /readyz and /metrics of a real driver on a real socket."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_model.errors import StoreUnusable
from csi_model.rpc.controller import WAITING as CREATING
from csi_model.rpc.health import Shared, pages
from csi_model.rpc.identity import IdentityService
from csi_model.rpc.metrics import Metrics
from csi_model.rpc.node import BRIEF
from csi_model.rpc.node import WAITING as STAGING
from csi_model.rpc.server import WORKERS
from csi_model.rpc.web import Answer, Pages
from tests.rpc.conftest import MOUNT, Driver


@pytest.fixture
def served(driver: Driver) -> Pages:
    return pages(f"unix://{driver.socket}", Metrics(node=True))


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body.decode()


def test_a_driver_that_answers_is_healthy_and_ready(served: Pages) -> None:
    assert told(served["/healthz"]()) == (200, "ok\n")
    assert told(served["/readyz"]()) == (200, "ok\n")


def test_a_driver_that_says_it_is_unwell_is_not_and_the_reason_is_told(make_driver: Callable[..., Driver]) -> None:
    def unwell() -> None:
        raise StoreUnusable("the disk is gone")

    driver = make_driver(identity=IdentityService(unwell))
    status, text = told(pages(f"unix://{driver.socket}", Metrics(node=True))["/healthz"]())
    assert (status, text) == (503, "the driver isn't well: Probe: FAILED_PRECONDITION: the disk is gone\n")


class CountedLock:
    """A lock that knows how often it was taken, so that a test knows who has come by."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken = threading.Semaphore(0)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self.taken.release()


@pytest.mark.parametrize("error", [None, StoreUnusable("the disk is gone")])
def test_who_asks_while_it_is_being_asked_gets_that_answer(error: Exception | None) -> None:
    asked, gate, lock, answers = [], threading.Event(), CountedLock(), []

    def ask() -> None:
        asked.append(1)
        assert gate.wait(10)
        if error:
            raise error

    def come() -> None:
        try:
            answers.append(shared())
        except StoreUnusable as told:
            answers.append(told)

    shared = Shared(ask)
    shared._lock = lock
    threads = [threading.Thread(target=come) for _ in range(5)]
    for thread in threads:
        thread.start()
        assert lock.taken.acquire(timeout=10)
    gate.set()
    for thread in threads:
        thread.join()
    assert (asked, answers) == ([1], [error] * 5)


def test_a_driver_that_is_gone_is_not_healthy(tmp_path: Path) -> None:
    answer = pages(f"unix://{tmp_path}/csi.sock", Metrics(node=True))["/healthz"]()
    assert told(answer) == (503, "the driver doesn't answer a Probe within 2 s\n")


def test_a_socket_whose_file_is_gone_is_noticed(served: Pages, driver: Driver) -> None:
    assert served["/healthz"]().status == 200
    driver.socket.unlink()
    assert served["/healthz"]().status == 503


def test_calls_that_wait_in_every_slot_do_not_keep_it_from_being_healthy(driver: Driver, served: Pages) -> None:
    stage = {"staging_target_path": "/s", "volume_capability": MOUNT}
    waiting = [
        *[("NodeStageVolume", {"volume_id": f"m-{n}", **stage}) for n in range(STAGING)],
        *[("CreateVolume", {"name": f"pvc-{n}", "volume_capabilities": [MOUNT]}) for n in range(CREATING)],
    ]
    driver.node.gate.close()
    driver.volumes.gate.close()
    calls = [driver.future(name, **fields) for name, fields in waiting]
    driver.node.gate.wait_for(STAGING)
    driver.volumes.gate.wait_for(CREATING)
    assert told(served["/healthz"]()) == (200, "ok\n")
    driver.node.gate.open()
    driver.volumes.gate.open()
    for call in calls:
        call.result()
    assert BRIEF + STAGING + CREATING < WORKERS


def test_what_else_has_to_be_right_makes_it_unready_and_not_unhealthy(driver: Driver) -> None:
    problems: list[str | None] = ["not registered with kubelet: it hasn't asked", None, "no API"]
    ready = [lambda: problems[0], lambda: problems[1], lambda: problems[2]]
    served = pages(f"unix://{driver.socket}", Metrics(node=True), ready=ready)
    assert told(served["/readyz"]()) == (503, "not registered with kubelet: it hasn't asked; no API\n")
    assert served["/healthz"]().status == 200
    problems[:] = [None, None, None]
    assert served["/readyz"]().status == 200


def test_metrics_are_in_prometheus_format(served: Pages) -> None:
    answer = served["/metrics"]()
    assert answer.content_type.startswith("text/plain; version=")
    assert b"csi_model_build_info{" in answer.body


def test_a_figure_that_cannot_be_read_is_told() -> None:
    def broken() -> dict[str, float]:
        raise OSError("stale file handle")

    counted = Metrics(node=True)
    counted.collect_from(broken)
    assert told(pages("unix:///x", counted)["/metrics"]()) == (503, "a figure can't be read: stale file handle\n")


def test_scrapes_that_hang_take_two_places_and_no_more() -> None:
    over, began = threading.Event(), threading.Semaphore(0)

    def hangs() -> dict[str, float]:
        began.release()
        over.wait(30)
        return {}

    counted = Metrics(node=True)
    counted.collect_from(hangs)
    page = pages("unix:///x", counted)["/metrics"]
    scraping = [threading.Thread(target=page) for _ in range(2)]
    for thread in scraping:
        thread.start()
        assert began.acquire(timeout=30)
    assert page().status == 503
    over.set()
    for thread in scraping:
        thread.join()
    assert page().status == 200
