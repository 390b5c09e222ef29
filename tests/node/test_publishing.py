import os
from dataclasses import replace

import pytest

from csi_model.core.capability import AccessMode, Capability
from csi_model.core.fields import Auth
from csi_model.errors import (
    InProgress,
    MountFailed,
    NotStaged,
    SourceUnavailable,
    StoreUnusable,
    TargetInUse,
    UnsupportedCapability,
    VolumeExists,
    VolumeNotFound,
)
from tests.node.node import MANY, ONCE, POD, WEIGHTS
from tests.node.warming import PATIENCE
from tests.transfer.bringing import begin

READER = Capability(AccessMode.SINGLE_NODE_READER_ONLY)
WRITER = Capability(AccessMode.SINGLE_NODE_WRITER)


@pytest.fixture
def staged(node):
    """A staged volume that many pods may use."""
    volume = node.create()
    node.stage(volume)
    return volume


def staged_as(node, capability, name="b"):
    volume = node.create(name, capability=capability)
    node.stage(volume)
    return volume


def test_publishing_binds_the_tree_read_only(node, staged):
    target = node.publish(staged)
    mount = node.mounts.table()[target]
    assert (mount.root, mount.read_only) == (node.tree(staged), True)


def test_it_is_read_only_whatever_was_asked(node, staged):
    for pod, read_only in (("pod-1", False), ("pod-2", True)):
        target = node.publish(staged, pod, read_only=read_only)
        assert node.mounts.table()[target].read_only


def test_publishing_ten_times_mounts_once(node, staged):
    for _ in range(10):
        target = node.publish(staged)
    node.mounts.unmount(target)
    assert len(node.hold(staged).targets) == 1
    assert target not in node.mounts.table()


def test_the_target_is_noted_before_it_is_mounted(node, staged, monkeypatch):
    noted = []
    monkeypatch.setattr(node.mounts, "bind_read_only", lambda *_, **__: noted.extend(node.hold(staged).targets))
    node.publish(staged)
    assert noted == [str(node.target(staged))]


def test_mount_options_reach_the_mount(node):
    volume = staged_as(node, replace(MANY, mount_flags=("noexec", "noatime")))
    assert node.mounts.flags[node.publish(volume)] == ("noexec", "noatime")


def test_an_existing_empty_target_is_used(node, staged):
    node.target(staged).mkdir()
    node.publish(staged)


def test_a_target_that_is_a_file_or_a_link_is_refused(node, staged, tmp_path):
    node.target(staged).write_text("")
    with pytest.raises(MountFailed, match="not a directory"):
        node.publish(staged)
    node.target(staged, "pod-2").symlink_to(tmp_path)
    with pytest.raises(MountFailed, match="not a directory"):
        node.publish(staged, "pod-2")
    assert node.mounts.table() == {}


def test_a_target_under_a_link_is_known_by_its_real_path(node, staged, tmp_path):
    """The mount table knows no links: a kubelet directory that is one must not make us mount twice."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for _ in range(2):
        node.publish(staged, target=tmp_path / "link" / "mount")
    assert list(node.mounts.table()) == [tmp_path / "real" / "mount"]
    assert node.agent.stats(staged.volume_id, tmp_path / "link" / "mount").used_files == 3
    node.unpublish(staged, target=tmp_path / "link" / "mount")
    assert node.mounts.table() == {}


def test_a_volume_that_is_not_staged_is_not_published(node):
    volume = node.create()
    with pytest.raises(NotStaged):
        node.publish(volume)
    assert not node.target(volume).exists()


def test_a_capability_that_no_model_has_is_refused(node, staged):
    with pytest.raises(UnsupportedCapability):
        node.publish(staged, capability=Capability(AccessMode.MULTI_NODE_MULTI_WRITER))


def test_neither_source_nor_registry_is_needed(node, staged):
    node.source_is_down = SourceUnavailable("down")
    node.registry.fail_with = StoreUnusable("gone")
    node.restart()
    node.publish(staged)
    node.unpublish(staged)
    node.unstage(staged)


# a second target


@pytest.mark.parametrize("capability", [MANY, ONCE])
def test_modes_of_many_writers_or_readers_allow_more_targets(node, capability):
    volume = staged_as(node, capability)
    for pod in ("pod-1", "pod-2", "pod-3"):
        node.publish(volume, pod)
    assert len(node.mounts.table()) == 3


@pytest.mark.parametrize("capability", [POD, READER, WRITER])
def test_modes_of_a_single_user_refuse_a_second_target(node, capability):
    volume = staged_as(node, capability)
    node.publish(volume, "pod-1")
    with pytest.raises(TargetInUse, match="pod-1"):
        node.publish(volume, "pod-2")
    assert not node.target(volume, "pod-2").exists()
    assert len(node.hold(volume).targets) == 1


def test_two_pod_volumes_of_one_model_are_both_published(node):
    one, two = staged_as(node, POD, "one"), staged_as(node, POD, "two")
    node.publish(one, "pod-1")
    node.publish(two, "pod-2")
    assert len(node.mounts.table()) == 2
    with pytest.raises(TargetInUse):
        node.publish(one, "pod-3")


def test_after_unpublish_the_next_pod_may_have_it(node):
    volume = staged_as(node, POD)
    node.publish(volume, "pod-1")
    node.unpublish(volume, "pod-1")
    node.publish(volume, "pod-2")


def test_a_noted_target_that_is_not_mounted_does_not_count(node):
    volume = staged_as(node, POD)
    node.mounts.unmount(node.publish(volume, "pod-1"))  # a reboot
    node.publish(volume, "pod-2")


def test_the_same_target_with_other_arguments_is_refused(node, staged):
    node.publish(staged)
    for change in ({"read_only": True}, {"capability": ONCE}):
        with pytest.raises(VolumeExists):
            node.publish(staged, **change)
    node.publish(staged)


def test_a_target_of_another_volume_is_refused(node, staged):
    other = staged_as(node, MANY)
    target = node.publish(staged)
    with pytest.raises(VolumeExists, match=staged.volume_id):
        node.publish(other, target=target)


def test_a_target_where_something_else_is_mounted_is_refused(node, staged, tmp_path):
    node.target(staged).mkdir()
    node.mounts.mount(tmp_path, node.target(staged), read_only=True)
    with pytest.raises(VolumeExists, match="something else"):
        node.publish(staged)


def test_a_writable_mount_of_the_tree_is_refused(node, staged):
    node.target(staged).mkdir()
    node.mounts.mount(node.tree(staged), node.target(staged), read_only=False)
    with pytest.raises(MountFailed, match="writable"):
        node.publish(staged)


# a lost copy


def test_a_lost_copy_is_brought_again_and_the_call_says_so(node, staged):
    node.lose(staged)
    stall = node.source.stall_next()
    with pytest.raises(InProgress, match="staging s3://models/qwen again"):
        node.publish(staged)
    stall.released.set()
    assert node.warmup(staged) is None or node.warmup(staged).wait(staged.volume_id, PATIENCE)
    node.publish(staged)


def test_a_lost_copy_on_secrets_is_not_staged_and_says_what_to_do(node):
    volume = node.create(auth=Auth.SECRET)
    node.stage(volume, secrets={"key": "good"})
    node.lose(volume)
    with pytest.raises(NotStaged, match="delete the pods"):
        node.publish(volume)


def test_a_pod_that_has_a_lost_copy_mounted_is_unpublished(node, staged):
    target = node.publish(staged)
    node.lose(staged)
    node.unpublish(staged)
    assert (target.exists(), node.mounts.table()) == (False, {})


# unpublishing


def test_unpublishing_takes_mount_directory_and_note_away(node, staged):
    target = node.publish(staged)
    node.unpublish(staged)
    assert (target.exists(), node.mounts.table(), node.hold(staged).targets) == (False, {}, {})


def test_unpublishing_again_and_what_never_was_is_no_error(node, staged):
    node.publish(staged)
    for _ in range(3):
        node.unpublish(staged)
    node.agent.unpublish("anything at all", node.root / "never" / "there")


def test_another_volumes_target_is_left_alone(node, staged):
    other = staged_as(node, MANY)
    target = node.publish(staged)
    node.unpublish(other, target=target)
    assert target in node.mounts.table()


def test_a_stale_note_of_another_volume_does_not_keep_a_target_mounted(node, staged):
    other = staged_as(node, MANY)
    target = node.publish(other)
    node.mounts.unmount(target)  # a reboot, after which the path is given to another volume
    node.publish(staged, target=target)
    node.unpublish(staged, target=target)
    assert (target.exists(), node.mounts.table()) == (False, {})


def test_a_foreign_mount_is_never_unmounted(node, staged, tmp_path):
    node.target(staged).mkdir()
    node.mounts.mount(tmp_path, node.target(staged))
    with pytest.raises(MountFailed, match="didn't mount"):
        node.unpublish(staged)
    assert node.target(staged) in node.mounts.table()


def test_unpublishing_works_with_the_hold_gone(node, staged):
    target = node.publish(staged)
    node.store.holds.drop(staged.volume_id)
    node.unpublish(staged)
    assert (target.exists(), node.mounts.table()) == (False, {})


def test_a_target_that_is_not_empty_is_not_deleted(node, staged):
    node.target(staged).mkdir()
    (node.target(staged) / "somebodys").write_text("data")
    with pytest.raises(MountFailed):
        node.unpublish(staged)
    assert (node.target(staged) / "somebodys").read_text() == "data"


def test_when_the_kernel_refuses_to_unmount_the_target_stays_noted(node, staged):
    node.publish(staged)
    node.mounts.refuse = "EBUSY"
    with pytest.raises(MountFailed):
        node.unpublish(staged)
    assert node.hold(staged).targets


# stats


def test_stats_tell_the_models_size_at_target_and_staging_path(node):
    volume = node.create(capacity=10**9)
    node.stage(volume)
    for path in (node.publish(volume), node.staging_path(volume)):
        usage = node.agent.stats(volume.volume_id, path)
        assert (usage.total_bytes, usage.used_bytes) == (10**9, len(WEIGHTS) + 2)
        assert (usage.total_files, usage.used_files) == (3, 3)


def test_stats_walk_nothing(node, staged, monkeypatch):
    target = node.publish(staged)
    node.agent.read_ahead.wait()  # which does list the tree, in the background
    for name in ("walk", "scandir", "listdir"):
        monkeypatch.setattr(os, name, lambda *_: pytest.fail("something was walked"))
    node.agent.stats(staged.volume_id, target)


def test_stats_of_what_is_not_there_are_not_found(node, staged):
    node.publish(staged)
    for volume_id, path in (
        ("stranger", node.target(staged)),
        (staged.volume_id, node.root / "elsewhere"),
        (staged.volume_id, node.target(staged, "pod-2")),
    ):
        with pytest.raises(VolumeNotFound):
            node.agent.stats(volume_id, path)


def test_stats_of_a_target_that_a_reboot_took_away_are_not_found(node, staged):
    target = node.publish(staged)
    node.mounts.unmount(target)
    with pytest.raises(VolumeNotFound):
        node.agent.stats(staged.volume_id, target)


# many at once


def test_calls_for_one_volume_at_once_end_as_if_one_after_another(node, staged):
    answers = [begin(node.publish, staged, f"pod-{n % 3}") for n in range(9)]
    assert len({answer.result(PATIENCE) for answer in answers}) == 3
    assert len(node.mounts.table()) == len(node.hold(staged).targets) == 3
    for answer in [begin(node.unpublish, staged, f"pod-{n % 3}") for n in range(9)]:
        answer.result(PATIENCE)
    assert (node.mounts.table(), node.hold(staged).targets) == ({}, {})


def test_of_many_pods_at_once_one_gets_a_pod_volume(node):
    volume = staged_as(node, POD)
    answers = [begin(node.publish, volume, f"pod-{n}") for n in range(8)]
    refused = [isinstance(answer.exception(PATIENCE), TargetInUse) for answer in answers]
    assert sorted(refused) == [False] + [True] * 7


def test_a_volume_that_is_published_is_not_unstaged(node, staged):
    node.publish(staged)
    with pytest.raises(TargetInUse, match="unpublish it first"):
        node.unstage(staged)
    assert node.hold(staged) is not None


def test_a_published_volume_is_unstaged_after_a_reboot(node, staged):
    target = node.publish(staged)
    node.mounts.unmount(target)
    node.unstage(staged)
    assert node.hold(staged) is None
