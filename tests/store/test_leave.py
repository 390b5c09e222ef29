"""What a node may evict by itself, what it has to ask for, and what it deletes when it gets leave."""

import os

import pytest

from csi_model.core.copies import Guard, Orders, Wanted
from csi_model.errors import StoreFull
from csi_model.settings import StoreSettings
from csi_model.store.leave import ASKED_FOR, Leave
from csi_model.store.store import Store
from tests.fakes.clock import Clock
from tests.store.shelf import Shelf, content, hold_of, is_whole, model, put, stage
from tests.store.shelf import entry as entry_of

MIB = 2**20


@pytest.fixture
def shelf(disk, monkeypatch):
    """A store of 64 MiB, filled up to 80 % at most, whose clock stands still."""
    monkeypatch.setattr("csi_model.core.treehash.CHUNK", MIB)
    with Shelf(disk / "store", high_watermark=0.8, low_watermark=0.5) as shelf:
        shelf.clock = Clock()
        leave = Leave(changed=shelf.store.changed.ring, clock=shelf.clock)
        shelf.store.retention.leave = leave
        yield shelf


def staged(shelf, name, *, released=100.0, size=16 * MIB):
    """Stage a model that takes a quarter of the disk."""
    manifest = model(name, sizes=(size,))
    stage(shelf.store, manifest)
    os.utime(shelf.layout.tree(manifest.digest), (released, released))
    return manifest


def obey(shelf, *, wanted=(), urgent=(), pinned=(), **guarded):
    """Give orders: manifests that are wanted, and by state those that are guarded."""
    names = [it.digest for it in (*wanted, *pinned)]
    orders = Orders(
        tuple(Wanted(it, "m-1", urgent=it in {u.digest for u in urgent}, pin=it in {p.digest for p in pinned}) for it in names),
        {it.digest: Guard(state.capitalize()) for state, manifests in guarded.items() for it in manifests},
    )  # fmt: skip
    shelf.store.retention.leave.obey(orders)


def here(shelf, *manifests):
    return [shelf.store.tree(manifest.digest) is not None for manifest in manifests]


def leaving(shelf):
    return shelf.store.retention.leave.leaving()


def refused(shelf, size=40 * MIB):
    with pytest.raises(StoreFull) as caught:
        shelf.store.reserve(size)
    return str(caught.value)


def test_the_order_is_unwanted_old_first_then_wanted_then_pinned(shelf):
    names = {
        name: staged(shelf, name, released=at, size=MIB) for name, at in zip("abcde", (5, 4, 3, 2, 1), strict=True)
    }
    shelf.store.trees.pin(names["c"].digest)
    obey(shelf, wanted=[names["d"]], pinned=[names["e"]])
    order = [tree.manifest for tree in shelf.store.retention.evictable()]
    assert order == [names[it].digest for it in "badec"]


def test_what_is_wanted_is_pinned_as_it_is_told_not_as_it_was_marked(shelf):
    marked, unwanted = staged(shelf, "a", size=MIB), staged(shelf, "b", size=MIB)
    for manifest in (marked, unwanted):
        shelf.store.trees.pin(manifest.digest)
    obey(shelf, wanted=[marked])
    pinned = {tree.manifest: shelf.store.retention.leave.pinned(tree) for tree in shelf.store.trees.all()}
    assert pinned == {marked.digest: False, unwanted.digest: True}


# nothing is known yet


def test_nothing_but_rubbish_goes_before_the_first_orders(shelf):
    shelf.store.retention.leave = Leave(awaits_orders=True)
    idle, loose = staged(shelf, "idle"), entry_of("loose", 16 * MIB)
    put(shelf.store, loose, content(loose.key, loose.size))
    with shelf.store.reserve(30 * MIB):
        assert here(shelf, idle) == [True]
    assert "until the csi-model controller has told this node" in refused(shelf)
    assert not shelf.store.retention.evict(idle.digest)
    obey(shelf)
    with shelf.store.reserve(40 * MIB):
        assert here(shelf, idle) == [False]


def test_a_store_of_a_cluster_awaits_orders_and_another_does_not(tmp_path):
    for awaits in (True, False):
        store = Store(StoreSettings(tmp_path / str(awaits)), awaits_orders=awaits)
        assert store.retention.leave.known is not awaits
        store.close()


# guarded copies


def test_a_guarded_copy_stays_and_is_leaving_when_its_room_is_needed(shelf):
    guarded = staged(shelf, "guarded")
    obey(shelf, keep=[guarded])
    assert "controller was asked for leave to evict 1 copy of models with placement: require" in refused(shelf)
    assert (here(shelf, guarded), leaving(shelf)) == ([True], {guarded.digest})
    assert is_whole(shelf.store, guarded)


@pytest.mark.parametrize("state", ["keep", "withdrawn"])
def test_it_is_not_deleted_before_it_is_released(shelf, state):
    guarded = staged(shelf, "guarded")
    obey(shelf, **{state: [guarded]})
    assert not shelf.store.retention.evict(guarded.digest)
    shelf.store.retention.evict_released()
    assert here(shelf, guarded) == [True]


def test_what_is_released_goes_at_once_and_makes_the_room(shelf):
    guarded = staged(shelf, "guarded")
    obey(shelf, keep=[guarded])
    refused(shelf)
    obey(shelf, released=[guarded])
    assert leaving(shelf) == {guarded.digest}  # until it is gone
    shelf.store.retention.evict_released()
    assert (here(shelf, guarded), leaving(shelf)) == ([False], set())
    with shelf.store.reserve(40 * MIB):
        pass


def test_what_is_released_and_held_again_stays(shelf):
    guarded = staged(shelf, "guarded")
    shelf.store.holds.put(hold_of(guarded))
    obey(shelf, released=[guarded])
    shelf.store.retention.evict_released()
    assert here(shelf, guarded) == [True]
    shelf.store.holds.drop("pvc-1")
    shelf.store.retention.evict_released()
    assert here(shelf, guarded) == [False]


def test_what_is_released_and_wanted_stays(shelf):
    guarded = staged(shelf, "guarded")
    obey(shelf, wanted=[guarded], released=[guarded])
    shelf.store.retention.evict_released()
    assert here(shelf, guarded) == [True]


def test_what_is_not_guarded_goes_without_asking_and_spares_the_guarded(shelf):
    guarded, idle = staged(shelf, "guarded", released=1.0), staged(shelf, "idle", released=2.0)
    obey(shelf, keep=[guarded])
    with shelf.store.reserve(30 * MIB):
        assert here(shelf, guarded, idle) == [True, False]
    assert leaving(shelf) == set()


def test_as_many_are_asked_for_as_are_needed_oldest_first(shelf):
    old, young = staged(shelf, "old", released=1.0), staged(shelf, "young", released=2.0)
    obey(shelf, keep=[old, young])
    refused(shelf, 30 * MIB)
    assert leaving(shelf) == {old.digest}
    assert "2 copies" in refused(shelf, 50 * MIB)
    assert leaving(shelf) == {old.digest, young.digest}


def test_nobody_is_asked_if_all_together_would_not_suffice(shelf):
    guarded, held = staged(shelf, "guarded"), staged(shelf, "held")
    shelf.store.holds.put(hold_of(held))
    obey(shelf, keep=[guarded])
    assert "delete pods or volumes" in refused(shelf, 50 * MIB)
    assert leaving(shelf) == set()


def test_nothing_is_evicted_while_leave_for_others_is_awaited(shelf):
    guarded, idle = staged(shelf, "guarded"), staged(shelf, "idle")
    obey(shelf, keep=[guarded])
    refused(shelf, 50 * MIB)
    assert here(shelf, guarded, idle) == [True, True]


def test_it_is_leaving_no_more_when_its_room_is_not_asked_for_again(shelf):
    guarded = staged(shelf, "guarded")
    obey(shelf, keep=[guarded])
    refused(shelf)
    shelf.clock.now += ASKED_FOR - 1
    refused(shelf)
    shelf.clock.now += ASKED_FOR - 1
    assert leaving(shelf) == {guarded.digest}
    shelf.clock.now += 2
    assert leaving(shelf) == set()


def test_it_is_leaving_no_more_when_it_is_not_guarded_any_more(shelf):
    guarded = staged(shelf, "guarded")
    obey(shelf, keep=[guarded])
    refused(shelf)
    obey(shelf)
    assert leaving(shelf) == set()


def test_a_damaged_copy_goes_whatever_guards_it_and_comes_back_as_one_that_stays(shelf):
    guarded = staged(shelf, "guarded")
    obey(shelf, keep=[guarded])
    refused(shelf)
    shelf.store.retention.condemn(guarded.digest, [])
    assert here(shelf, guarded) == [False]
    stage(shelf.store, guarded)
    assert leaving(shelf) == set()


# wanted copies


def test_what_is_wanted_is_not_driven_out_by_what_nobody_waits_for(shelf):
    wanted = staged(shelf, "wanted")
    obey(shelf, wanted=[wanted])
    refused(shelf)
    assert here(shelf, wanted) == [True]


def test_it_is_by_what_a_pod_waits_for(shelf):
    wanted, awaited = staged(shelf, "wanted"), model("awaited")
    obey(shelf, wanted=[wanted, awaited], urgent=[awaited])
    with shelf.store.reserve(40 * MIB):
        assert here(shelf, wanted) == [False]


def test_it_is_by_what_a_volume_holds_that_is_not_here(shelf):
    wanted = staged(shelf, "wanted")
    shelf.store.holds.put(hold_of(model("awaited")))
    obey(shelf, wanted=[wanted])
    with shelf.store.reserve(40 * MIB):
        assert here(shelf, wanted) == [False]


def test_tidying_takes_what_is_wanted_only_down_to_the_high_watermark(shelf, disk):
    wanted = [staged(shelf, name) for name in "ab"]
    idle = staged(shelf, "idle")
    (disk / "theirs").write_bytes(bytes(14 * MIB))  # 97 %
    obey(shelf, wanted=wanted)
    shelf.store.tidy()
    assert here(shelf, *wanted, idle) == [True, True, False]  # 72 %, above the low watermark


def test_tidying_asks_for_leave_too(shelf, disk):
    guarded = staged(shelf, "guarded")
    (disk / "theirs").write_bytes(bytes(40 * MIB))
    obey(shelf, keep=[guarded])
    shelf.store.tidy()
    assert (here(shelf, guarded), leaving(shelf)) == ([True], {guarded.digest})


# news


def test_it_rings_for_every_tree_and_hold_that_comes_or_goes_and_for_what_is_leaving(shelf):
    rings = []
    shelf.store.changed.listen(lambda: rings.append(shelf.store.retention.leave.leaving()))

    def rang(action):
        rings.clear()
        action()
        return bool(rings)

    manifest = model("a", sizes=(16 * MIB,))
    assert rang(lambda: stage(shelf.store, manifest))
    assert rang(lambda: shelf.store.holds.put(hold_of(manifest)))
    assert not rang(lambda: shelf.store.holds.put(hold_of(manifest)))
    assert rang(lambda: shelf.store.holds.drop("pvc-1"))
    obey(shelf, keep=[manifest])
    assert rang(lambda: refused(shelf))
    assert not rang(lambda: refused(shelf))
    obey(shelf)
    assert rang(lambda: shelf.store.retention.evict(manifest.digest))
    stage(shelf.store, manifest)
    assert rang(lambda: shelf.store.retention.condemn(manifest.digest, []))
