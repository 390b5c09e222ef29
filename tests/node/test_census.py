"""What a node says of its copies: the truth at that moment, cheaply."""

import shutil

import pytest

from csi_model.core.copies import Guard, NodeReport, Orders, Wanted
from csi_model.core.fields import Auth
from csi_model.core.warmth import Warmth
from csi_model.errors import InProgress, SourceChanged, StoreUnusable
from tests.node.node import Node
from tests.node.warming import PATIENCE
from tests.transfer.bringing import SMALL_CHUNK, content


@pytest.fixture
def staged(node):
    volume = node.create()
    node.stage(volume)
    return volume


def copies(node):
    return node.agent.report().copies


def obey(node, *wanted, **how):
    orders = Orders(tuple(Wanted(it.manifest.digest, it.volume_id, **how) for it in wanted))
    node.agent.obey(orders)
    node.agent.ahead.step()


def another(node, name):
    node.source.files[f"{name}/weights"] = content(2 * SMALL_CHUNK, seed=name)
    return node.create(name, model=name)


def test_an_empty_node_has_room_and_nothing_else(node):
    report = node.agent.report()
    assert (report.copies, report.evictable) == ((), 0)
    assert 0 < report.available <= report.total - report.used


def test_a_held_copy_is_staged_and_held(node, staged):
    [copy] = copies(node)
    size = staged.manifest.size
    assert (copy.revision, copy.warmth, copy.bytes, copy.present) == (staged.manifest.digest, Warmth.STAGED, size, size)
    assert (copy.held, copy.released, copy.leaving, copy.pinned, copy.error) == (True, None, False, False, "")


def test_a_copy_that_nobody_holds_tells_since_when_and_could_be_evicted(node, staged):
    node.unstage(staged)
    [copy] = copies(node)
    tree = next(node.store.trees.all())
    assert (copy.held, copy.released) == (False, tree.released)
    assert node.agent.report().evictable == node.store.retention.evictable_bytes([tree]) > 0


def test_a_mounted_copy_is_held_whatever_became_of_its_hold(node, staged):
    node.publish(staged)
    node.store.holds.drop(staged.volume_id)
    assert copies(node)[0].held


def test_a_running_warm_up_tells_how_far_it_is(slow):
    volume = slow.create()
    stall = slow.source.stall_next()
    with pytest.raises(InProgress):
        slow.stage(volume)
    assert stall.reached.wait(PATIENCE)
    [copy] = copies(slow)
    assert (copy.warmth, copy.bytes, copy.held) == (Warmth.WARMING, volume.manifest.size, True)
    assert 0 <= copy.present < copy.bytes
    stall.released.set()


def test_what_could_not_be_brought_is_cold_and_tells_why(node):
    volume = node.create(auth=Auth.SECRET)
    obey(node, volume)
    [copy] = copies(node)
    assert (copy.revision, copy.warmth) == (volume.manifest.digest, Warmth.COLD)
    assert "auth: secret" in copy.error


@pytest.mark.parametrize("lose", ["evicted", "condemned", "wiped", "held and condemned"])
def test_nothing_is_staged_that_is_not_here(node, staged, lose):
    if "held" not in lose:
        node.unstage(staged)
    if lose == "evicted":
        node.store.retention.evict(staged.manifest.digest)
    elif lose == "wiped":
        shutil.rmtree(node.store.layout.tree(staged.manifest.digest))
    else:
        node.lose(staged)
    assert copies(node) == ()


def test_an_earlier_life_left_what_is_here_and_nothing_else(node, staged):
    node.restart()
    assert [copy.warmth for copy in copies(node)] == [Warmth.STAGED]
    shutil.rmtree(node.store.layout.tree(staged.manifest.digest))
    node.restart()
    assert copies(node) == ()


def test_what_is_wanted_or_guarded_is_not_for_others_to_have(node, staged):
    node.unstage(staged)
    free = node.agent.report().evictable
    obey(node, staged)
    assert node.agent.report().evictable == 0
    node.agent.obey(Orders((), {staged.manifest.digest: Guard.KEEP}))
    assert node.agent.report().evictable == 0
    node.agent.obey(Orders())
    assert node.agent.report().evictable == free > 0


def test_what_is_leaving_and_pinned_is_said_so(node, staged):
    node.unstage(staged)
    obey(node, staged, pin=True)
    assert copies(node)[0].pinned
    node.agent.obey(Orders((), {staged.manifest.digest: Guard.KEEP}))
    node.store.retention.leave.ask([staged.manifest.digest])
    assert copies(node)[0].leaving


def test_copies_are_sorted(node):
    volumes = [another(node, name) for name in "abc"]
    for volume in volumes:
        node.stage(volume)
    assert [copy.revision for copy in copies(node)] == sorted(volume.manifest.digest for volume in volumes)


def test_a_store_that_cannot_be_read_is_an_error_not_an_empty_one(node, staged):
    shutil.rmtree(node.store.layout.trees)
    with pytest.raises(StoreUnusable):
        node.agent.report()


def test_the_blobs_are_not_looked_at_again_while_the_same_copies_could_go(node, staged, monkeypatch):
    node.unstage(staged)
    before = node.agent.report()
    monkeypatch.setattr(node.store.retention, "evictable_bytes", None)
    monkeypatch.setattr(node.store, "manifest", None)
    after = node.agent.report()
    assert isinstance(after, NodeReport)
    assert (after.evictable, after.copies) == (before.evictable, before.copies)


def test_every_change_of_what_is_here_rings(tmp_path, small_chunks):
    node = Node(tmp_path, grace=0.0)
    said = []
    node.store.changed.listen(lambda: said.append([(it.warmth, it.held) for it in copies(node)]))
    try:
        volume = node.create()
        node.stage(volume)
        assert [(Warmth.WARMING, True)] in said
        assert said[-1] == [(Warmth.STAGED, True)]
        node.unstage(volume)
        assert said[-1] == [(Warmth.STAGED, False)]
        node.store.retention.evict(volume.manifest.digest)
        assert said[-1] == []
        node.source.fail_next(SourceChanged("weights was overwritten"), times=99)
        with pytest.raises(SourceChanged):
            node.stage(volume)
        assert ([(Warmth.WARMING, True)] in said, said[-1]) == (True, [])
    finally:
        node.close()
