"""What a pod sees, with the kernel's own mounts."""

import errno
import mmap
import os
import threading
from pathlib import Path

import pytest

from csi_model.errors import SourceUnavailable, TargetInUse
from tests.node.node import POD, WEIGHTS


@pytest.fixture
def volume(real):
    made = real.create()
    real.stage(made)
    return made


@pytest.fixture
def published(real, volume):
    return real.publish(volume)


def test_a_pod_reads_exactly_the_models_files(published):
    found = {path.name: path.read_bytes() for path in published.iterdir()}
    assert found == {"weights": WEIGHTS, "config.json": b"{}", "empty": b""}


@pytest.mark.parametrize(
    "attempt",
    [
        lambda root: (root / "weights").open("r+b"),
        lambda root: (root / "new").touch(),
        lambda root: (root / "weights").unlink(),
        lambda root: (root / "weights").chmod(0o777),
        lambda root: (root / "weights").rename(root / "w"),
        lambda root: os.utime(root / "weights"),
        lambda root: os.truncate(root / "weights", 0),
        lambda root: os.link(root / "weights", root / "link"),
        lambda root: (root / "directory").mkdir(),
    ],
)
def test_root_can_not_write_through_the_mount(published, attempt):
    with pytest.raises(OSError) as refused:
        attempt(published)
    assert refused.value.errno == errno.EROFS


def test_files_and_directories_look_the_same_everywhere(published):
    for path in [published, *published.rglob("*")]:
        status = path.stat()
        assert status.st_mode & 0o7777 == (0o555 if path.is_dir() else 0o444)
        assert (status.st_uid, status.st_gid, status.st_mtime) == (os.geteuid(), os.getegid(), 0)


def test_mmap_reads_the_bytes(published):
    with (published / "weights").open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == WEIGHTS


def test_a_private_writable_mapping_leaves_the_file_alone(published):
    with (published / "weights").open("rb") as file, mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as mapped:
        mapped[:4] = b"mine"
    assert (published / "weights").read_bytes() == WEIGHTS


def test_sendfile_sends_the_bytes(published):
    read_end, write_end = os.pipe()
    received = []

    def receive():
        with os.fdopen(read_end, "rb") as pipe:
            received.append(pipe.read())

    receiver = threading.Thread(target=receive)
    receiver.start()
    with (published / "weights").open("rb") as file, os.fdopen(write_end, "wb") as pipe:
        sent = 0
        while sent < len(WEIGHTS):
            sent += os.sendfile(pipe.fileno(), file.fileno(), sent, len(WEIGHTS) - sent)
    receiver.join()
    assert received == [WEIGHTS]


def test_direct_reads_give_the_bytes(published):
    descriptor = os.open(published / "weights", os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 1 << 20) as buffer:
            assert buffer[: os.preadv(descriptor, [buffer], 0)] == WEIGHTS
    finally:
        os.close(descriptor)


def test_two_volumes_of_one_model_show_the_same_inodes(real, volume):
    other = real.create("b")
    real.stage(other)
    one, two = real.publish(volume, "pod-1"), real.publish(other, "pod-2")
    assert (one / "weights").stat().st_ino == (two / "weights").stat().st_ino


def test_publishing_again_mounts_once_and_unpublishing_leaves_nothing(real, volume):
    for _ in range(3):
        target = real.publish(volume)
    assert len([line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {target} " in line]) == 1
    for _ in range(2):
        real.unpublish(volume)
    assert not target.exists()
    assert target not in real.mounts.table()


def test_a_pod_volume_has_one_target_and_another_of_the_same_model_has_its_own(real):
    one, two = real.create("one", capability=POD), real.create("two", capability=POD)
    for volume in (one, two):
        real.stage(volume)
    real.publish(one, "pod-1")
    real.publish(two, "pod-2")
    with pytest.raises(TargetInUse):
        real.publish(one, "pod-3")


def test_a_restarted_agent_knows_what_is_mounted(real, volume, published):
    real.source_is_down = SourceUnavailable("down")
    real.restart()
    assert real.publish(volume) == published
    assert real.keeper.evict("unused", dry_run=False)["evicted"] == []
    real.unpublish(volume)
    assert not published.exists()


def test_a_pod_keeps_a_damaged_copy_until_it_ends_while_a_new_one_is_fetched(real, volume, published):
    with (published / "weights").open("rb") as before:
        real.lose(volume)
        assert before.read() == WEIGHTS
        assert (published / "weights").read_bytes() == WEIGHTS
        real.stage(volume)
        assert real.files(volume)["weights"] == WEIGHTS
    real.unpublish(volume)
    real.publish(volume)
    real.store.tidy()
    assert list(real.store.layout.trash.iterdir()) == []


def test_files_that_a_pod_has_open_do_not_keep_it_from_being_unpublished(real, volume, published):
    with (published / "weights").open("rb") as file:
        real.unpublish(volume)
        assert file.read() == WEIGHTS
    assert not published.exists()


def test_a_pod_that_has_a_withdrawn_copy_is_still_published_after_a_restart_of_kubelet(real):
    volume = real.create()
    real.stage(volume)
    target = real.publish(volume)
    real.lose(volume)
    real.stage(volume)
    assert real.publish(volume) == target
