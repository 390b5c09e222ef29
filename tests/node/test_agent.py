import threading

import pytest

from csi_model.errors import InProgress, MountFailed, StoreLocked, StoreUnusable
from csi_model.node import agent as agents
from csi_model.node.agent import open_store
from csi_model.settings import StoreSettings
from tests.fakes.mounts import FakeMounts
from tests.node.node import WEIGHTS
from tests.node.warming import PATIENCE
from tests.transfer.bringing import begin


def test_a_store_whose_disk_is_not_mounted_is_refused(tmp_path):
    settings = StoreSettings(tmp_path / "disk" / "store", require_mount=tmp_path / "disk")
    with pytest.raises(StoreUnusable, match="is not mounted"):
        open_store(settings, FakeMounts())
    assert not settings.root.exists()


def test_a_store_beside_its_required_disk_is_refused(tmp_path):
    with pytest.raises(StoreUnusable, match="not under"):
        open_store(StoreSettings(tmp_path / "store", require_mount=tmp_path / "disk"), FakeMounts())


def test_a_store_on_its_mounted_disk_opens(tmp_path):
    mounts = FakeMounts()
    (tmp_path / "disk").mkdir()
    mounts.mount(tmp_path, tmp_path / "disk")
    open_store(StoreSettings(tmp_path / "disk" / "store", require_mount=tmp_path / "disk"), mounts).close()


def test_a_second_agent_on_one_store_is_refused(node):
    with pytest.raises(StoreLocked):
        node.boot()


def test_what_a_pod_has_mounted_is_not_evicted_even_without_a_hold(node):
    volume = node.create()
    node.stage(volume)
    target = node.publish(volume)
    node.store.holds.drop(volume.volume_id)
    assert not node.store.retention.evict(volume.manifest.digest)
    node.mounts.unmount(target)
    assert node.store.retention.evict(volume.manifest.digest)


def test_available_counts_what_could_be_evicted(node):
    volume = node.create()
    node.stage(volume)
    held = node.agent.available()
    node.unstage(volume)
    assert node.agent.available() - held == pytest.approx(len(WEIGHTS), abs=50_000)


def test_housekeeping_resumes_what_was_being_staged(node):
    volume = node.create()
    stall = node.source.stall_next()
    with pytest.raises(InProgress):
        node.stage(volume, timeout=0.0)
    stall.reached.wait(PATIENCE)
    node.restart()
    node.source._next.clear()
    joined = threading.Event()
    real = node.agent.warmer.want
    node.agent.warmer.want = lambda *arguments, **how: (real(*arguments, **how), joined.set())[0]
    node.agent.start()
    assert joined.wait(PATIENCE)
    node.stage(volume)
    assert node.files(volume)["weights"] == WEIGHTS


def test_housekeeping_goes_on_after_an_error(node, monkeypatch, caplog):
    monkeypatch.setattr(agents, "_ROUND", 0.0)
    rounds, twice = [], threading.Event()

    def collect_holds():
        rounds.append(1)
        if len(rounds) == 1:
            raise MountFailed("the mount table can't be read")
        twice.set()

    node.agent.collect_holds = collect_holds
    node.agent.start()
    assert twice.wait(PATIENCE)
    assert "the mount table" in caplog.text


def test_closing_ends_housekeeping_and_warm_ups_and_frees_the_store(node):
    volume, stall = node.create(), node.source.stall_next()
    node.agent.start()
    waiting = begin(lambda: node.stage(volume))
    stall.reached.wait(PATIENCE)
    node.agent.close()
    with pytest.raises(InProgress):
        waiting.result(PATIENCE)
    node.boot()
    node.source._next.clear()
    node.stage(volume)


def test_an_agent_that_was_never_started_can_be_closed(node):
    node.restart()
