"""Holds that nobody ends are ended by housekeeping, and no others."""

import shutil
from dataclasses import replace

import pytest

from csi_model.core.capability import AccessMode, Capability
from csi_model.errors import (
    InProgress,
)
from tests.node.node import Node
from tests.node.warming import PATIENCE

READER = Capability(AccessMode.SINGLE_NODE_READER_ONLY)
WRITER = Capability(AccessMode.SINGLE_NODE_WRITER)


@pytest.fixture
def staged(node):
    """A staged volume that many pods may use."""
    volume = node.create()
    node.stage(volume)
    return volume


def test_a_hold_whose_staging_directory_is_gone_is_collected(node, staged):
    shutil.rmtree(node.staging_path(staged))
    assert node.agent.collect_holds() == [staged.volume_id]
    assert node.store.holds.all() == []


def test_a_hold_whose_staging_directory_is_there_is_kept(node, staged):
    assert node.agent.collect_holds() == []


def test_a_hold_with_a_mounted_target_is_kept(node, staged):
    target = node.publish(staged)
    shutil.rmtree(node.staging_path(staged))
    assert node.agent.collect_holds() == []
    node.mounts.unmount(target)
    assert node.agent.collect_holds() == [staged.volume_id]


def test_a_young_hold_is_kept_through_the_grace(tmp_path, small_chunks):
    node = Node(tmp_path, abandoned=3600.0)
    volume = node.create()
    node.stage(volume)
    shutil.rmtree(node.staging_path(volume))
    assert node.agent.collect_holds() == []
    node.store.holds.put(replace(node.hold(volume), since=node.hold(volume).since - 3601))
    assert node.agent.collect_holds() == [volume.volume_id]
    node.close()


def test_a_hold_that_comes_alive_while_it_is_looked_at_is_kept(node, staged):
    shutil.rmtree(node.staging_path(staged))
    real = node.store.holds.all

    def all_then_staged():
        found = real()
        node.stage(staged)  # makes the staging directory again
        return found

    node.store.holds.all = all_then_staged
    assert node.agent.collect_holds() == []


def test_the_collected_hold_ends_its_warm_up(slow):
    volume, stall = slow.create(), slow.source.stall_next()
    with pytest.raises(InProgress):
        slow.stage(volume)
    stall.reached.wait(PATIENCE)
    warmup = slow.warmup(volume)
    shutil.rmtree(slow.staging_path(volume))
    assert slow.agent.collect_holds() == [volume.volume_id]
    with pytest.raises(InProgress):
        warmup.wait(volume.volume_id, PATIENCE)
