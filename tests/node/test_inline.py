"""Volumes that stand in a pod: what a pod author may ask for, and what becomes of it."""

import threading

import pytest

from csi_model.core.allow import Allowed
from csi_model.errors import (
    InProgress,
    InvalidArgument,
    SourceChanged,
    SourceDenied,
    SourceUnavailable,
    VolumeNotFound,
)
from tests.fakes.mounts import FakeMounts
from tests.node.node import WEIGHTS
from tests.node.warming import PATIENCE
from tests.transfer.bringing import begin

SECRETS = {"accessKeyId": "me", "secretAccessKey": "hunter2-hunter2"}


def held(node, volume_id="csi-1"):
    return node.store.holds.get(volume_id)


def test_the_first_publish_brings_the_model_and_mounts_it_read_only(node):
    target = node.publish_inline()
    mount = node.mounts.table()[target]
    assert (mount.read_only, (mount.root / "weights").read_bytes()) == (True, WEIGHTS)


def test_the_hold_lives_with_the_directory_that_kubelet_made(node):
    target = node.publish_inline(revision=node.create().manifest.digest)
    hold = held(node)
    assert (hold.ephemeral, hold.claim, hold.staging_path) == (True, None, str(target.parent))
    assert hold.context == {"schema": "1", "source": "s3://models/qwen", "auth": "anonymous"}
    assert node.agent.collect_holds() == []


def test_unpublishing_ends_the_hold_and_keeps_the_copy(node):
    target = node.publish_inline()
    digest = held(node).manifest
    for _ in range(3):
        node.unpublish_inline()
    assert (held(node), target.exists(), node.mounts.table()) == (None, False, {})
    assert node.store.tree(digest) is not None


def test_a_pods_volume_has_its_size(node):
    target = node.publish_inline()
    usage = node.agent.stats("csi-1", target)
    assert (usage.total_bytes, usage.used_bytes, usage.used_files) == (len(WEIGHTS) + 2, len(WEIGHTS) + 2, 3)
    with pytest.raises(VolumeNotFound):
        node.agent.stats("csi-1", target.parent)


def test_pods_of_one_model_share_its_copy_with_everybody(node):
    volume = node.create()
    node.stage(volume)
    node.source.reads.clear()
    first, second = node.publish_inline("csi-1"), node.publish_inline("csi-2")
    assert node.source.reads == []
    assert {node.mounts.table()[target].root for target in (first, second)} == {node.tree(volume)}


def test_a_pod_joins_the_warm_up_of_a_staged_volume(node):
    volume, stall = node.create(), node.source.stall_next()
    staging = begin(lambda: node.stage(volume))
    assert stall.reached.wait(PATIENCE)
    with pytest.raises(InProgress):
        node.publish_inline(timeout=0.0)
    assert len(node.agent.warmer.all()) == 1
    stall.released.set()
    staging.result(PATIENCE)
    target = node.publish_inline()
    assert node.mounts.table()[target].root == node.tree(volume)


# waiting


def test_a_long_warm_up_answers_with_the_progress_in_words(slow):
    stall = slow.source.stall_next()
    with pytest.raises(InProgress, match=r"staging s3://models/qwen: 0 B of 328 kB"):
        slow.publish_inline()
    assert (held(slow).targets, slow.mounts.table()) == ({}, {})
    stall.released.set()
    assert slow.publish_inline() in slow.mounts.table()


def test_unpublishing_while_it_is_brought_ends_all(node):
    stall = node.source.stall_next()
    waiting = begin(node.publish_inline)
    assert stall.reached.wait(PATIENCE)
    node.unpublish_inline()
    assert held(node) is None
    stall.released.set()
    with pytest.raises(InProgress, match="given up"):
        waiting.result(PATIENCE)
    assert (held(node), node.mounts.table()) == (None, {})


class SlowListing:
    """Lets a listing wait until it is told to go on."""

    def __init__(self, node):
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._real = node.source.resolve
        node.source.resolve = self

    def __call__(self, *arguments):
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return self._real(*arguments)


def test_a_call_that_comes_during_the_listing_does_not_list_again(node):
    listing = SlowListing(node)
    first = begin(node.publish_inline)
    assert listing.begun.wait(PATIENCE)
    with pytest.raises(InProgress, match="still being listed"):
        node.publish_inline(timeout=0.0)
    second = begin(node.publish_inline)
    listing.go_on.set()
    first.result(PATIENCE)
    second.result(PATIENCE)
    assert node.source.resolves == 1


def test_unpublishing_during_the_listing_leaves_nothing_behind(node):
    listing = SlowListing(node)
    publishing = begin(node.publish_inline)
    assert listing.begun.wait(PATIENCE)
    node.unpublish_inline()
    listing.go_on.set()
    with pytest.raises(InProgress, match="given up"):
        publishing.result(PATIENCE)
    assert (held(node), node.mounts.table()) == (None, {})


class Awaited(threading.Event):
    """Tells that somebody waits for it."""

    def __init__(self):
        super().__init__()
        self.reached = threading.Event()

    def wait(self, timeout=None):
        self.reached.set()
        return super().wait(timeout)


def test_unpublishing_during_the_listing_also_ends_the_calls_that_wait_for_it(node):
    listing = SlowListing(node)
    first = begin(node.publish_inline)
    assert listing.begun.wait(PATIENCE)
    node.agent._inline._listings["csi-1"].ended = ended = Awaited()
    second = begin(node.publish_inline)
    assert ended.reached.wait(PATIENCE)
    node.unpublish_inline()
    with pytest.raises(InProgress, match="given up"):
        second.result(PATIENCE)
    listing.go_on.set()
    with pytest.raises(InProgress, match="given up"):
        first.result(PATIENCE)
    assert (node.source.resolves, held(node), node.mounts.table()) == (1, None, {})


# whose rights


def test_every_publish_that_mounts_proves_a_read_with_its_own_secret(node):
    node.publish_inline("csi-1", auth="secret", secrets=SECRETS)
    node.publish_inline("csi-2", auth="secret", secrets={"accessKeyId": "other"})
    assert [secrets.get("accessKeyId") for secrets in node.opened] == ["me", "me", "other"]


def test_who_may_not_read_gets_nothing_although_the_copy_is_here(node):
    node.stage(node.create())
    node.source_is_down = SourceDenied("this key may not read it")
    with pytest.raises(SourceDenied):
        node.publish_inline(auth="secret", secrets=SECRETS)
    assert (held(node), node.mounts.table()) == (None, {})


def test_a_secret_that_was_revoked_while_the_model_was_brought_is_refused(slow):
    stall = slow.source.stall_next()
    with pytest.raises(InProgress):
        slow.publish_inline(auth="secret", secrets=SECRETS)
    slow.source_is_down = SourceDenied("revoked")
    with pytest.raises(SourceDenied):
        slow.publish_inline(auth="secret", secrets=SECRETS)
    stall.released.set()
    assert held(slow) is None


def test_a_later_call_proves_a_read_and_not_only_that_there_is_a_source(slow, monkeypatch):
    stall = slow.source.stall_next()
    with pytest.raises(InProgress):
        slow.publish_inline()
    proven = []
    monkeypatch.setattr(slow.source, "prove", proven.append)
    stall.released.set()
    slow.publish_inline()
    assert [manifest.digest for manifest in proven] == [held(slow).manifest]


def test_secrets_reach_the_source_and_no_disk(node):
    node.publish_inline(auth="secret", secrets=SECRETS)
    assert node.opened[0] == SECRETS
    for path in node.root.rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes()
    assert "hunter2" not in repr(node.inline_request(secrets=SECRETS))


def test_what_is_mounted_is_published_again_with_no_network_and_no_secret(node):
    target = node.publish_inline(auth="secret", secrets=SECRETS)
    node.source_is_down = SourceUnavailable("down")
    node.restart()
    node.publish_inline(auth="secret")
    assert target in node.mounts.table()
    assert len(node.opened) == 2


def test_also_when_the_allow_list_has_become_narrower(node):
    target = node.publish_inline()
    node.inline = Allowed()
    node.restart()
    node.publish_inline()
    assert target in node.mounts.table()


def test_an_allow_list_that_has_become_narrower_stops_what_is_not_mounted_yet(slow):
    slow.source.stall_next()
    with pytest.raises(InProgress):
        slow.publish_inline()
    slow.inline = Allowed()
    slow.restart()
    with pytest.raises(InvalidArgument, match="isn't allowed"):
        slow.publish_inline()
    assert held(slow) is None


def test_an_unreachable_source_keeps_what_was_held(slow):
    stall = slow.source.stall_next()
    with pytest.raises(InProgress):
        slow.publish_inline()
    slow.source_is_down = SourceUnavailable("down")
    with pytest.raises(SourceUnavailable):
        slow.publish_inline()
    assert held(slow) is not None
    stall.released.set()


# the revision


def test_what_was_resolved_first_stays_pinned(slow):
    stall = slow.source.stall_next()
    with pytest.raises(InProgress):
        slow.publish_inline()
    pinned = held(slow).manifest
    slow.source.files["qwen/new"] = b"later"
    stall.released.set()
    slow.publish_inline()
    assert held(slow).manifest == pinned


def test_a_model_that_changed_in_the_middle_is_resolved_anew_by_the_next_call(node):
    node.source.fail_next(SourceChanged("weights was overwritten"), times=99)
    with pytest.raises(SourceChanged):
        node.publish_inline()
    assert held(node) is None
    node.source._next.clear()
    node.source.files["qwen/weights"] = b"new"
    target = node.publish_inline()
    assert (node.mounts.table()[target].root / "weights").read_bytes() == b"new"


def test_a_revision_that_is_not_the_sources_is_refused_with_both(node):
    with pytest.raises(InvalidArgument, match="revision") as refused:
        node.publish_inline(revision="0" * 64)
    assert "0" * 64 in str(refused.value)
    assert node.create().manifest.digest in str(refused.value)
    assert held(node) is None


def test_a_model_that_has_changed_since_a_reboot_too(node):
    node.publish_inline()
    node.mounts = FakeMounts()
    node.restart()
    node.source.files["qwen/config.json"] = b"{...}"
    with pytest.raises(SourceChanged):
        node.publish_inline()
    assert held(node) is None
    target = node.publish_inline()
    assert (node.mounts.table()[target].root / "config.json").read_bytes() == b"{...}"
