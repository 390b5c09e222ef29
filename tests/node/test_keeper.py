import json

import pytest

from csi_model.core.copies import Guard, Orders, Wanted
from csi_model.errors import InProgress, InvalidArgument, VolumeNotFound
from csi_model.node.keeper import Keeper
from csi_model.store.leave import Leave
from tests.node.node import WEIGHTS
from tests.node.warming import PATIENCE
from tests.transfer.bringing import content


@pytest.fixture
def staged(node):
    volume = node.create()
    node.stage(volume)
    return volume


def only(items):
    (item,) = items
    return item


def damage(node, volume, path="weights"):
    """Flip a byte on the disk, as a failing one does."""
    file = node.tree(volume) / path
    file.chmod(0o644)
    with file.open("r+b") as stream:
        stream.seek(100_000 if path == "weights" else 0)
        stream.write(b"\xff\x00\xff")


def verdict(keeper, revision=None):
    return only([event for event in keeper.verify(revision) if event["event"] == "revision"])


# status


def test_an_empty_store_has_room_and_nothing_else(node):
    status = node.keeper.status()
    assert (status["revisions"], status["holds"], status["unreadable_holds"]) == ([], [], [])
    assert 0 < status["store"]["available_bytes"] <= status["store"]["total_bytes"]


def test_a_staged_revision_is_shown_with_who_holds_it(node, staged):
    revision = only(node.keeper.status()["revisions"])
    assert (revision["manifest"], revision["warmth"]) == (staged.manifest.digest, "staged")
    assert (revision["source"], revision["held_by"]) == ("s3://models/qwen", ["m-a"])
    assert (revision["bytes"], revision["files"], revision["checked_files"]) == (len(WEIGHTS) + 2, 3, 3)


def test_a_revision_that_nobody_holds_is_named_after_its_place(node, staged):
    node.unstage(staged)
    revision = only(node.keeper.status()["revisions"])
    assert (revision["source"], revision["held_by"]) == ("fake:models/qwen", [])
    assert revision["released"] > 0


def test_a_warming_revision_is_shown_with_its_progress(node):
    volume, stall = node.create(), node.source.stall_next()
    with pytest.raises(InProgress):
        node.stage(volume, timeout=0.0)
    stall.reached.wait(PATIENCE)
    revision = only(node.keeper.status()["revisions"])
    assert (revision["warmth"], revision["progress"]["total_bytes"]) == ("warming", len(WEIGHTS) + 2)


def test_a_held_revision_that_is_neither_staged_nor_warming_is_cold(node, staged):
    node.lose(staged)
    assert only(node.keeper.status()["revisions"])["warmth"] == "cold"


def test_a_hold_is_shown_with_its_live_targets_only(node, staged):
    live = node.publish(staged, "pod-1")
    node.mounts.unmount(node.publish(staged, "pod-2"))
    hold = only(node.keeper.status()["holds"])
    assert (hold["volume_id"], hold["targets"]) == ("m-a", [str(live)])
    assert hold["staging_path"] == str(node.staging_path(staged))


def test_an_unreadable_hold_is_shown(node):
    (node.store.layout.holds / "deadbeef").write_text("{")
    node.restart()
    assert node.keeper.status()["unreadable_holds"] == ["deadbeef"]


def test_status_is_ready_for_json(node, staged):
    node.publish(staged)
    json.dumps(node.keeper.status())


def test_status_works_without_an_agent(node, staged):
    assert Keeper(node.store, node.mounts).status()["revisions"][0]["warmth"] == "staged"


# verify


def test_a_sound_copy_is_found_sound(node, staged):
    events = list(node.keeper.verify())
    assert [event["path"] for event in events if event["event"] == "file"] == ["config.json", "empty", "weights"]
    assert (events[-1]["damaged"], events[-1]["bytes"]) == ([], len(WEIGHTS) + 2)


@pytest.mark.parametrize("path", ["weights", "config.json"])
def test_a_damaged_file_is_found_and_the_copy_withdrawn(node, staged, path):
    damage(node, staged, path)
    found = verdict(node.keeper)
    assert (found["damaged"], found["withdrawn"]) == ([path], [staged.manifest.digest])
    assert node.tree(staged) is None


def test_after_that_it_is_fetched_anew(node, staged):
    damage(node, staged)
    verdict(node.keeper)
    node.stage(staged)
    assert node.files(staged)["weights"] == WEIGHTS


def test_damage_withdraws_every_copy_that_shares_the_file(node, staged):
    node.source.files["qwen/more"] = b"more"
    newer = node.create("b")
    node.stage(newer)
    damage(node, staged)
    withdrawn = [
        digest for event in node.keeper.verify(staged.manifest.digest) for digest in event.get("withdrawn", [])
    ]
    assert sorted(withdrawn) == sorted([staged.manifest.digest, newer.manifest.digest])


def test_a_copy_whose_index_is_damaged_is_withdrawn(node, staged):
    index = node.store.layout.index(staged.manifest.digest)
    index.write_text("rubbish")
    assert (len(verdict(node.keeper)["damaged"]), node.tree(staged)) == (1, None)


def test_a_copy_that_is_evicted_while_others_are_verified_is_no_damage(node, staged):
    node.unstage(staged)
    node.source.files["other/weights"] = content(5000, seed=3)
    other = node.create("b", model="other")
    node.stage(other)
    events = node.keeper.verify()
    first = next(events)["manifest"]
    for volume in (staged, other):
        if volume.manifest.digest != first:
            node.unstage(volume)
            assert node.store.retention.evict(volume.manifest.digest)
    assert all(event["damaged"] == [] for event in events if event["event"] == "revision")


def test_one_revision_is_chosen_by_its_first_digits(node, staged):
    assert verdict(node.keeper, staged.manifest.digest[:8])["manifest"] == staged.manifest.digest


def test_too_few_digits_are_refused_and_unknown_ones_not_found(node, staged):
    with pytest.raises(InvalidArgument, match="at least 6"):
        list(node.keeper.verify(staged.manifest.digest[:3]))
    with pytest.raises(VolumeNotFound, match="status"):
        list(node.keeper.verify("0" * 64))


# evict


def test_what_nothing_holds_is_evicted(node, staged):
    node.unstage(staged)
    answer = node.keeper.evict("unused", dry_run=False)
    assert (answer["evicted"], answer["kept"], node.tree(staged)) == ([staged.manifest.digest], {}, None)
    assert answer["bytes"] >= len(WEIGHTS)


def test_a_dry_run_only_tells(node, staged):
    node.unstage(staged)
    answer = node.keeper.evict("unused", dry_run=True)
    assert (answer["evicted"], answer["dry_run"]) == ([staged.manifest.digest], True)
    assert node.tree(staged) is not None


def test_what_is_held_is_kept_and_the_reason_told(node, staged):
    answer = node.keeper.evict(staged.manifest.digest, dry_run=False)
    assert (answer["evicted"], answer["kept"]) == ([], {staged.manifest.digest: "held by m-a"})
    assert node.tree(staged) is not None


def test_what_is_mounted_is_kept(node, staged):
    node.publish(staged)
    node.store.holds.drop(staged.volume_id)
    answer = node.keeper.evict("unused", dry_run=False)
    assert "mounted" in answer["kept"][staged.manifest.digest]


def test_evicting_what_is_not_there_is_not_found(node):
    with pytest.raises(VolumeNotFound):
        node.keeper.evict("0" * 64, dry_run=False)
    assert node.keeper.evict("unused", dry_run=False)["evicted"] == []


def obey(node, *wanted, guarded=()):
    orders = [Wanted(it.manifest.digest, it.volume_id) for it in wanted]
    node.agent.obey(Orders(tuple(orders), {it.manifest.digest: Guard.KEEP for it in guarded}))


def test_what_the_cluster_wants_goes_only_if_it_is_named(node, staged):
    node.unstage(staged)
    obey(node, staged)
    assert "the cluster wants it" in node.keeper.evict("unused", dry_run=False)["kept"][staged.manifest.digest]
    assert node.keeper.evict(staged.manifest.digest, dry_run=False)["evicted"] == [staged.manifest.digest]


def test_for_what_pods_are_steered_to_strictly_the_controller_is_asked_if_it_is_named(node, staged):
    node.unstage(staged)
    obey(node, guarded=[staged])
    leave, digest = node.store.retention.leave, staged.manifest.digest
    for target, dry_run in (("unused", False), (digest, True)):
        assert "placement: require" in node.keeper.evict(target, dry_run=dry_run)["kept"][digest]
        assert leave.leaving() == set()
    assert node.keeper.evict(digest, dry_run=False)["evicted"] == []
    assert leave.leaving() == {digest}


def test_nothing_goes_before_the_first_orders(node, staged):
    node.unstage(staged)
    node.store.retention.leave = Leave(awaits_orders=True)
    kept = node.keeper.evict("unused", dry_run=False)["kept"]
    assert "hasn't told" in kept[staged.manifest.digest]
