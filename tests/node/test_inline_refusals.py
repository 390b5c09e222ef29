"""Volumes that stand in a pod: what is refused, and what becomes of odd ends."""

import shutil
from dataclasses import replace

import pytest

from csi_model.core.allow import Allowed
from csi_model.errors import (
    InvalidArgument,
    MountFailed,
    SourceNotFound,
    UnsupportedCapability,
    VolumeExists,
)
from csi_model.node.inline import Inline
from tests.node.node import EVERYTHING, OWN, WEIGHTS, Node
from tests.node.warming import PATIENCE

SECRETS = {"accessKeyId": "me", "secretAccessKey": "hunter2-hunter2"}


def held(node, volume_id="csi-1"):
    return node.store.holds.get(volume_id)


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"source": "s3://secret/qwen"}, "s3://secret/qwen, which isn't allowed"),
        ({"endpoint": "http://169.254.169.254"}, "169.254.169.254, which isn't allowed"),
        ({"auth": "ambient"}, "nodePublishSecretRef"),
        ({"pin": "true"}, "volumeAttributes.pin"),
        ({"placement": "any"}, "volumeAttributes.placement"),
        ({"warmReplicas": "1"}, "volumeAttributes.warmReplicas"),
        ({"warmNodeSelector": "a=b"}, "volumeAttributes.warmNodeSelector"),
        ({"allowedSources": "s3://**"}, "volumeAttributes.allowedSources: is unknown"),
        ({"sorce": "s3://models/qwen"}, "did you mean 'source'"),
        ({"schema": "99"}, "schema"),
        ({"revision": "../../etc"}, "no manifest digest"),
        ({"include": "/etc/*"}, "include"),
    ],
)
def test_what_a_pod_may_not_ask_for_is_refused_before_any_request(tmp_path, small_chunks, attributes, text):
    node = Node(tmp_path, inline=Allowed(("s3://models/*",), ("default",)))
    with pytest.raises(InvalidArgument, match=text.replace("(", r"\(")):
        node.publish_inline(**attributes)
    assert (node.opened, node.store.holds.all()) == ([], [])
    node.close()


def test_nothing_is_allowed_unless_somebody_says_so(tmp_path, small_chunks):
    node = Node(tmp_path, inline=Allowed())
    with pytest.raises(InvalidArgument, match="has allowed no sources yet"):
        node.publish_inline()
    node.close()


def test_the_drivers_own_rights_are_for_what_an_administrator_listed(tmp_path, small_chunks):
    node = Node(tmp_path, inline=EVERYTHING, ambient_allow=("s3://models/qwen",))
    node.publish_inline(auth="ambient")
    node.close()


def test_a_list_that_would_cover_any_bucket_is_refused_at_the_start(node):
    with pytest.raises(InvalidArgument, match="ambient_allow"):
        Inline(
            node.store, None, None, locks=None, allowed=EVERYTHING, ambient_allow=("models/*",), telling=None
        )  # fmt: skip


def test_a_missing_model_is_not_found_and_leaves_nothing(node):
    with pytest.raises(SourceNotFound):
        node.publish_inline(source="s3://models/nothing")
    assert node.store.holds.all() == []


def test_a_capability_that_no_model_has_is_refused(node):
    request = replace(node.inline_request(), capability=replace(OWN, block=True))
    with pytest.raises(UnsupportedCapability):
        node.agent.publish_inline(request, timeout=PATIENCE)


# the same id again


@pytest.mark.parametrize("change", [{"exclude": "*.bin"}, {"revision": "0" * 64}])
def test_other_arguments_for_a_mounted_volume_are_refused(node, change):
    target = node.publish_inline()
    with pytest.raises(VolumeExists):
        node.publish_inline(**change)
    assert target in node.mounts.table()


def test_another_target_for_the_same_volume_is_refused(node, tmp_path):
    node.publish_inline()
    with pytest.raises(VolumeExists, match="another target"):
        node.publish_inline(target=tmp_path / "elsewhere" / "mount")


def test_a_staged_volume_is_not_taken_over_by_a_pods_words(node):
    volume = node.create()
    node.stage(volume)
    with pytest.raises(VolumeExists):
        node.publish_inline(volume.volume_id)
    assert not node.hold(volume).ephemeral


def test_a_pods_volume_is_neither_staged_nor_unstaged(node):
    volume = node.create()
    target = node.publish_inline(volume.volume_id)
    with pytest.raises(VolumeExists):
        node.stage(volume, capability=OWN)
    node.agent.unstage(volume.volume_id, target.parent)
    with pytest.raises(VolumeExists):
        node.publish(volume, "pod-2")
    assert held(node, volume.volume_id).ephemeral


def test_what_is_mounted_at_the_target_already_is_left_alone(node, tmp_path):
    node.mounts.mount(tmp_path, node.inline_target())
    with pytest.raises(VolumeExists, match="something else"):
        node.publish_inline()
    assert held(node) is None


def test_a_target_whose_directory_is_gone_leaves_no_hold(node):
    request = node.inline_request()
    shutil.rmtree(request.target_path.parent)
    with pytest.raises(MountFailed):
        node.agent.publish_inline(request, timeout=PATIENCE)
    assert held(node) is None


def test_a_hold_whose_pod_directory_is_gone_is_collected(node):
    target = node.publish_inline()
    node.mounts.unmount(target)
    shutil.rmtree(target.parent)
    assert node.agent.collect_holds() == ["csi-1"]


def test_a_damaged_copy_is_brought_again_for_the_next_pod(node):
    node.publish_inline("csi-1")
    node.store.retention.condemn(held(node).manifest, node.store.trees.index(held(node).manifest).values())
    node.publish_inline("csi-1")
    target = node.publish_inline("csi-2")
    assert (node.mounts.table()[target].root / "weights").read_bytes() == WEIGHTS
