"""kill -9 at chosen moments of a warm-up: what was durable is neither fetched nor hashed again."""

import sys
import threading
from pathlib import Path

import pytest

from csi_model.core.treehash import CHUNK
from csi_model.demo.kubelet import Kubelet
from csi_model.demo.s3server import S3Server
from csi_model.rpc.client import Refused
from csi_model.store.ledger import Ledger
from tests.harness import Driver, content
from tests.integration.pod import Pod
from tests.transfer.bringing import PATIENCE, begin

CHUNKS = 8
SIZE = (CHUNKS - 1) * CHUNK + 4097
WEIGHTS = content("weights", SIZE)
STREAMS = 2


class GatedServer(S3Server):
    """Answers as many spans of the weights as it is told to; ``stuck`` is set once both streams wait for more."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.create_bucket("models", public=True)
        self._gate = threading.Condition()
        self._permits = 0
        self._waiting = 0
        self._epoch = 0
        self._over = False
        self.stuck = threading.Event()

    def permit(self, spans: int) -> None:
        """Answer so many spans from now on; requests that wait (perhaps of a dead driver) are let go besides."""
        with self._gate:
            self._epoch += 1
            self._permits = spans
            self._waiting = 0
            self.stuck.clear()
            self._gate.notify_all()

    def __exit__(self, *error: object) -> None:
        with self._gate:
            self._over = True
            self._gate.notify_all()
        super().__exit__(*error)

    def paced(self, start, length):
        if length > 4096:
            self._pass()
        yield from super().paced(start, length)

    def _pass(self):
        with self._gate:
            if self._permits == 0:
                self._waiting += 1
                if self._waiting == STREAMS:
                    self.stuck.set()
                epoch = self._epoch
                self._gate.wait_for(lambda: self._epoch != epoch or self._over)
            else:
                self._permits -= 1


class EagerDriver(Driver):
    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self._command = [
            sys.executable, "-m", "tests.node.eager_driver", f"unix://{self.socket}", str(self.store), str(self.registry),
        ]  # fmt: skip

    def bytes_read(self) -> int:
        """Bytes that the process got from read(2) and the like: files, and not sockets."""
        lines = Path(f"/proc/{self.process.pid}/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["rchar"])


@pytest.fixture
def s3(tmp_path):
    with GatedServer(tmp_path / "s3") as server:
        yield server


@pytest.fixture
def driver(tmp_path, mounts):
    made = EagerDriver(tmp_path)
    with made:
        yield made


class Site:
    """A driver, kubelet beside it, and one volume."""

    def __init__(self, driver, s3, root, *, auth="anonymous", checksum="crc64nvme"):
        self.driver, self.s3, self.root = driver, s3, root
        s3.put("models", "qwen/weights", WEIGHTS, checksum=checksum)
        s3.put("models", "qwen/config.json", b"{}")
        parameters = {"source": "s3://models/qwen", "endpoint": s3.url, "auth": auth}
        with driver.client() as client:
            self.volume = Kubelet(client, root / "kubelet").create("pvc-1", parameters)
        s3.requests.clear()

    def stage(self):
        with self.driver.client() as client:
            Kubelet(client, self.root / "kubelet").stage(self.volume)

    def stage_once(self):
        with self.driver.client() as client, pytest.raises(Refused):
            Kubelet(client, self.root / "kubelet", repeat_after=frozenset()).stage(self.volume)

    def kill_after(self, spans):
        """Kill the driver when so many spans are on its disk and two more are on the way."""
        self.s3.permit(spans)
        call = begin(self.stage_once)
        assert self.s3.stuck.wait(PATIENCE)
        self.driver.kill()
        call.result(PATIENCE)
        self.s3.requests.clear()

    def durable(self):
        """Return the indices of the chunks that the ledger vouches for."""
        found = [path for path in self.driver.store.glob("ingest/*/ledger") if path.stat().st_size]
        if not found:
            return []
        ledger = Ledger(found[0])
        ledger.close()
        return sorted(ledger.landed)

    def fetched(self):
        """Return the indices of the chunks that were asked for, by the server's own log."""
        ranges = [r.range for r in self.s3.requests if r.method == "GET" and r.key == "qwen/weights"]
        starts = [int(text.removeprefix("bytes=").partition("-")[0]) for text in ranges]
        return sorted(start // CHUNK for start in starts)

    def published(self):
        with self.driver.client() as client:
            kubelet = Kubelet(client, self.root / "kubelet")
            target = kubelet.publish(self.volume, "pod-1")
            found = {path.name: path.read_bytes() for path in target.iterdir()}
            kubelet.unpublish(self.volume, "pod-1")
        return found


def refused(call):
    with pytest.raises(Refused):
        call()


COMPLETE = {"weights": WEIGHTS, "config.json": b"{}"}


@pytest.mark.parametrize("spans", [0, 1, 5])
def test_after_a_kill_only_chunks_that_were_not_durable_are_fetched(driver, s3, tmp_path, spans):
    site = Site(driver, s3, tmp_path)
    site.kill_after(spans)
    durable = site.durable()
    assert len(durable) == spans
    s3.permit(10**6)
    driver.start()
    site.stage()
    assert site.fetched() == sorted(set(range(CHUNKS)) - set(durable))
    assert site.published() == COMPLETE


def test_durable_chunks_are_not_even_read_again(driver, s3, tmp_path):
    site = Site(driver, s3, tmp_path)
    site.kill_after(6)
    s3.permit(10**6)
    driver.start()
    before = driver.bytes_read()
    site.stage()
    assert driver.bytes_read() - before < 2 * CHUNK


def test_a_hash_that_needs_order_reads_them_back_and_fetches_none(driver, s3, tmp_path):
    site = Site(driver, s3, tmp_path, checksum="sha256")
    site.kill_after(6)
    durable = site.durable()
    s3.permit(10**6)
    before = driver.launch().bytes_read()  # it goes on as soon as it is up
    driver.ready()
    site.stage()
    assert site.fetched() == sorted(set(range(CHUNKS)) - set(durable))
    assert driver.bytes_read() - before > 5 * CHUNK
    assert site.published() == COMPLETE


def test_a_restarted_driver_goes_on_before_anybody_asks(driver, s3, tmp_path):
    site = Site(driver, s3, tmp_path)
    site.kill_after(3)
    s3.permit(0)
    driver.start()
    assert s3.stuck.wait(PATIENCE)  # both streams ask for spans, and no call was made
    s3.permit(10**6)
    site.stage()
    assert site.published() == COMPLETE


def test_killed_again_and_again_it_gets_there_and_loses_only_what_was_on_the_way(driver, s3, tmp_path):
    site = Site(driver, s3, tmp_path)
    asked = 0
    for _ in range(2):
        s3.permit(2)
        call = begin(site.stage_once)
        assert s3.stuck.wait(PATIENCE)
        asked += len(site.fetched())
        driver.kill()
        call.result(PATIENCE)
        s3.requests.clear()
        driver.start()
    s3.permit(10**6)
    site.stage()
    assert asked + len(site.fetched()) <= CHUNKS + 2 * STREAMS
    assert site.published() == COMPLETE


def test_after_a_kill_a_published_pod_is_taken_down_with_source_and_record_gone(driver, s3, tmp_path):
    site = Site(driver, s3, tmp_path)
    s3.permit(10**6)
    site.stage()
    with driver.client() as client:
        target = Kubelet(client, tmp_path / "kubelet").publish(site.volume, "pod-1")
    driver.kill()
    for record in driver.registry.iterdir():
        record.unlink()
    s3.denied.add(("GET", "models", ""))
    driver.start()
    assert (target / "config.json").read_bytes() == b"{}"
    with driver.client() as client:
        kubelet = Kubelet(client, tmp_path / "kubelet")
        kubelet.publish(site.volume, "pod-1")
        kubelet.unpublish(site.volume, "pod-1")
        kubelet.unstage(site.volume)
    assert not target.exists()


def test_a_pods_own_volume_goes_on_where_the_kill_stopped_it_and_leaves_nothing(driver, s3, tmp_path):
    site = Site(driver, s3, tmp_path)
    words = {"source": "s3://models/qwen", "endpoint": s3.url, "auth": "anonymous"}
    pod = Pod(driver, tmp_path / "kubelet", "pod-1", words)
    s3.permit(4)
    call = begin(lambda: refused(pod.publish_once))
    assert s3.stuck.wait(PATIENCE)
    driver.kill()
    call.result(PATIENCE)
    s3.requests.clear()
    durable = site.durable()
    assert len(durable) == 4
    s3.permit(10**6)
    driver.start()
    assert pod.publish() == COMPLETE
    assert site.fetched() == sorted(set(range(CHUNKS)) - set(durable))
    driver.kill()
    driver.start()
    pod.unpublish()
    assert list((driver.store / "holds").iterdir()) == []
