"""What a crash or a kernel that refuses leaves behind while a target comes or goes."""

import pytest

from csi_model.core.capability import AccessMode, Capability
from csi_model.errors import (
    MountFailed,
)
from csi_model.store.holds import Holds
from tests.fakes.mounts import FakeMounts
from tests.transfer.bringing import chunk_reads

READER = Capability(AccessMode.SINGLE_NODE_READER_ONLY)
WRITER = Capability(AccessMode.SINGLE_NODE_WRITER)


@pytest.fixture
def staged(node):
    """A staged volume that many pods may use."""
    volume = node.create()
    node.stage(volume)
    return volume


def test_nothing_is_left_behind_when_the_kernel_refuses(node, staged):
    node.mounts.refuse = "EPERM"
    with pytest.raises(MountFailed):
        node.publish(staged)
    assert (node.target(staged).exists(), node.hold(staged).targets, node.mounts.table()) == (False, {}, {})


def test_a_directory_that_was_there_before_stays_when_the_kernel_refuses(node, staged):
    node.target(staged).mkdir()
    node.mounts.refuse = "EPERM"
    with pytest.raises(MountFailed):
        node.publish(staged)
    assert node.target(staged).is_dir()


class Crash(BaseException):
    """The process ends here."""


def crash(*_, **__):
    raise Crash


def test_after_a_crash_between_note_and_mount_publishing_goes_on(node, staged, monkeypatch):
    with monkeypatch.context() as crashing:
        crashing.setattr(node.mounts, "bind_read_only", crash)
        with pytest.raises(Crash):
            node.publish(staged)
    node.restart()
    assert node.hold(staged).targets
    assert node.publish(staged) in node.mounts.table()


def test_after_a_crash_between_note_and_mount_unpublishing_cleans_up(node, staged, monkeypatch):
    with monkeypatch.context() as crashing:
        crashing.setattr(node.mounts, "bind_read_only", crash)
        with pytest.raises(Crash):
            node.publish(staged)
    node.restart()
    node.unpublish(staged)
    assert (node.target(staged).exists(), node.hold(staged).targets) == (False, {})


def test_after_a_crash_behind_the_mount_publishing_is_done(node, staged, monkeypatch):
    real = node.mounts.bind_read_only
    with monkeypatch.context() as crashing:
        crashing.setattr(node.mounts, "bind_read_only", lambda *a, **k: (real(*a, **k), crash()))
        with pytest.raises(Crash):
            node.publish(staged)
    node.restart()
    node.publish(staged)
    node.unpublish(staged)
    assert node.mounts.table() == {}


def test_after_a_crash_behind_the_unmount_unpublishing_goes_on(node, staged, monkeypatch):
    target = node.publish(staged)
    with monkeypatch.context() as crashing:
        crashing.setattr(Holds, "put", crash)
        with pytest.raises(Crash):
            node.unpublish(staged)
    node.restart()
    assert node.hold(staged).targets
    node.unpublish(staged)
    assert (target.exists(), node.hold(staged).targets) == (False, {})


def test_after_a_reboot_everything_is_published_again(node, staged):
    target = node.publish(staged)
    node.mounts = FakeMounts()  # a reboot takes the mounts away and leaves the holds
    node.restart()
    node.stage(staged)
    node.publish(staged)
    assert target in node.mounts.table()
    assert chunk_reads(node.source, "weights") == [0, 1, 2, 3, 4]


def test_a_target_survives_a_restart_of_the_agent(node, staged):
    target = node.publish(staged)
    node.restart()
    node.publish(staged)
    assert node.agent.stats(staged.volume_id, target).used_files == 3
