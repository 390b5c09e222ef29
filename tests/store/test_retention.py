"""Which copies go, in which order, and which never do."""

import os
import threading
from contextlib import closing
from pathlib import Path

import pytest

from csi_model.core.manifest import Manifest
from csi_model.core.treehash import is_digest
from csi_model.settings import StoreSettings
from csi_model.store import rubbish
from csi_model.store.store import Store
from tests.store.shelf import ORIGIN, content, entry, hold_of, is_whole, model, put, stage, write_chunks

MIB = 2**20


def evict_steps(shelf):
    """Make room step by step; after each step tell what is still there."""
    seen = []

    def lacking():
        trees = sorted(tree.manifest for tree in shelf.store.trees.all())
        state = (len(list(shelf.layout.ingests.iterdir())), len(loose(shelf)), trees)
        if not seen or seen[-1] != state:
            seen.append(state)
        return 1

    shelf.store.retention.make_room(lacking, partly=True)
    return seen


def loose(shelf):
    return set(shelf.store.blobs.unlinked())


def leave_ingest(shelf, item):
    with shelf.store.ingest(ORIGIN, item) as ingest:
        write_chunks(ingest, content(item.key, item.size), [0])
        ingest.checkpoint()


def staged(shelf, name, *, released, pin=False):
    manifest = model(name, sizes=(9_000, 5_000))
    stage(shelf.store, manifest)
    if pin:
        shelf.store.trees.pin(manifest.digest)
    os.utime(shelf.layout.tree(manifest.digest), (released, released))
    return manifest.digest


def test_the_order_is_ingests_loose_blobs_old_trees_young_trees_pinned_trees(shelf):
    leave_ingest(shelf, entry("unfinished", 9_000))
    put(shelf.store, entry("loose", 9_000))
    pinned_old = staged(shelf, "a", released=1, pin=True)
    young, old = staged(shelf, "b", released=300), staged(shelf, "c", released=200)
    pinned = staged(shelf, "d", released=2, pin=True)
    everything = sorted([pinned_old, young, old, pinned])
    assert evict_steps(shelf) == [
        (1, 1, everything),
        (0, 1, everything),
        (0, 0, everything),
        (0, 0, sorted({*everything} - {old})),
        (0, 0, sorted([pinned_old, pinned])),
        (0, 0, [pinned]),
        (0, 0, []),
    ]


def test_the_last_release_counts_not_the_staging(shelf):
    first, second = staged(shelf, "a", released=100), staged(shelf, "b", released=200)
    shelf.store.trees.touch(first)
    assert [tree.manifest for tree in shelf.store.retention.evictable()] == [second, first]


def test_held_mounted_and_wanted_trees_never_go(shelf):
    held, mounted, wanted, idle = (model(name) for name in ("held", "mounted", "wanted", "idle"))
    for manifest in (held, mounted, wanted, idle):
        stage(shelf.store, manifest)
    shelf.store.holds.put(hold_of(held))
    shelf.mounted.add(mounted.digest)
    with shelf.store.wanted(wanted):
        for manifest in (held, mounted, wanted):
            assert not shelf.store.retention.evict(manifest.digest)
        evict_steps(shelf)
    kept = {tree.manifest for tree in shelf.store.trees.all()}
    assert kept == {held.digest, mounted.digest, wanted.digest}
    assert is_whole(shelf.store, held)


def test_a_hold_that_comes_while_room_is_made_wins(shelf):
    manifest = model()
    stage(shelf.store, manifest)
    evictable = shelf.store.retention.evictable()
    shelf.store.holds.put(hold_of(manifest))
    assert not shelf.store.retention.evict(evictable[0].manifest)
    assert shelf.store.tree(manifest.digest)


def test_evicting_what_is_not_there_does_nothing(shelf):
    assert not shelf.store.retention.evict("0" * 64)
    assert not shelf.store.retention.evict("../blobs")


def test_blobs_that_another_tree_has_stay(shelf):
    shared = entry("shared", 9_000)
    first, second = (Manifest.of(ORIGIN, [shared, entry("own", 5_000, pin=pin, key=pin)]) for pin in ("v1", "v2"))
    for manifest in (first, second):
        stage(shelf.store, manifest)
    shelf.store.retention.evict(first.digest)
    assert shelf.store.find(ORIGIN, shared)
    assert shelf.store.find(ORIGIN, first.entries[0]) is None
    assert is_whole(shelf.store, second)


def test_a_blob_stays_known_as_long_as_any_of_its_inodes_is_linked(shelf, monkeypatch):
    link = os.link

    def limited(source, target):
        if Path(source).stat().st_nlink >= 2:
            raise OSError(31, "Too many links")
        link(source, target)

    monkeypatch.setattr(os, "link", limited)
    shared = entry("shared", 9_000)
    first, second = (Manifest.of(ORIGIN, [shared, entry("own", 5_000, pin=pin, key=pin)]) for pin in ("v1", "v2"))
    for manifest in (first, second):
        stage(shelf.store, manifest)
    shelf.store.retention.evict(first.digest)
    assert shelf.store.find(ORIGIN, shared)
    shelf.store.retention.evict(second.digest)
    assert shelf.store.find(ORIGIN, shared) is None


def test_what_eviction_would_free_counts_blobs_that_nobody_else_has(shelf):
    shared = entry("shared", 40_960)
    first, second = (Manifest.of(ORIGIN, [shared, entry("own", 8_192, pin=pin, key=pin)]) for pin in ("v1", "v2"))
    for manifest in (first, second):
        stage(shelf.store, manifest)
    trees = list(shelf.store.trees.all())
    assert shelf.store.retention.evictable_bytes(trees[:1]) == 8_192
    assert shelf.store.retention.evictable_bytes(trees) == 8_192 * 2 + 40_960


def test_blobs_that_a_running_plan_shares_are_not_counted_as_what_could_be_freed(shelf):
    shared = entry("shared", 40_960)
    old, new = (Manifest.of(ORIGIN, [shared, entry("own", 8_192, pin=pin, key=pin)]) for pin in ("v1", "v2"))
    stage(shelf.store, old)
    with shelf.store.wanted(new):
        assert shelf.store.retention.evictable_bytes(list(shelf.store.trees.all())) == 8_192


def test_what_a_running_plan_needs_stays(shelf):
    manifest = model()
    with shelf.store.wanted(manifest):
        put(shelf.store, manifest.entries[0])
        leave_ingest(shelf, manifest.entries[1])
        evict_steps(shelf)
        assert shelf.store.find(ORIGIN, manifest.entries[0])
        assert shelf.store.allocated(ORIGIN, manifest.entries[1])
    evict_steps(shelf)
    assert shelf.store.find(ORIGIN, manifest.entries[0]) is None
    assert shelf.store.allocated(ORIGIN, manifest.entries[1]) == 0


def test_what_a_held_revision_has_of_its_bytes_stays_until_it_is_staged(shelf):
    manifest = model()
    shelf.store.save_manifest(manifest)
    shelf.store.holds.put(hold_of(manifest))
    put(shelf.store, manifest.entries[0])
    leave_ingest(shelf, manifest.entries[1])
    evict_steps(shelf)
    assert shelf.store.find(ORIGIN, manifest.entries[0])
    assert shelf.store.allocated(ORIGIN, manifest.entries[1])


def test_an_ingest_that_somebody_writes_stays_even_if_nobody_said_that_it_is_wanted(shelf):
    item = entry("large", 9_000)
    with shelf.store.ingest(ORIGIN, item) as ingest:
        write_chunks(ingest, content(item.key, 9_000))
        evict_steps(shelf)
        assert ingest.commit()


def test_a_blob_that_is_committed_while_loose_ones_are_looked_for_stays(shelf, monkeypatch):
    manifest = model()

    def then_commit(look):
        def looked():
            found = list(look())
            put(shelf.store, manifest.entries[0])
            return set(found)

        return looked

    monkeypatch.setattr(shelf.store.blobs, "unlinked", then_commit(shelf.store.blobs.unlinked))
    monkeypatch.setattr(shelf.store._rubbish, "needed", then_commit(shelf.store._rubbish.needed))
    with shelf.store.wanted(manifest):
        shelf.store._rubbish.drop_blobs()
        assert shelf.store.find(ORIGIN, manifest.entries[0])


# the trash


def test_trash_that_a_mount_shows_is_not_deleted(tmp_path, small_chunks):
    mounted = model("mounted")
    mounts = {"of the tree"}

    def in_use():  # a mount follows the directory that it shows
        places = [*(tmp_path / "store/trees").iterdir(), *(tmp_path / "store/trash").iterdir()]
        return {path.name for path in places if path.name.startswith(mounted.digest)} if mounts else set()

    with closing(Store(StoreSettings(tmp_path / "store"), in_use=in_use)) as store:
        stage(store, mounted)
        store.retention.condemn(mounted.digest, [])
        store.tidy()
        (gone,) = store.layout.trash.iterdir()
        assert (gone / "root/part-0.bin").read_bytes() == content("mounted/0", 20_000)
        mounts.clear()
        store.tidy()
        assert not gone.exists()


def test_the_mount_table_is_asked_after_the_trash_was_listed(shelf):
    """Else a mounted tree that comes into the trash in between is not known as mounted."""
    manifest = model()
    root = stage(shelf.store, manifest).parent

    def in_use():
        if root.exists():
            root.rename(shelf.layout.discarded(root))
        return set()

    shelf.store._rubbish._in_use = in_use
    shelf.store._rubbish.sweep()
    assert len(list(shelf.layout.trash.iterdir())) == 1


def test_several_sweeps_at_once_do_not_stumble_over_each_other(shelf, caplog):
    for n in range(200):
        (shelf.layout.trash / f"{n}/a/b").mkdir(parents=True)
    threads = [threading.Thread(target=shelf.store.tidy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(shelf.layout.trash.iterdir()) == []
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("/var/lib/csi-model/trees/{}/root", "{}"),
        ("/trees/{}/root", "{}"),
        ("/x/trash/{}.0123456789abcdef/root", "{}.0123456789abcdef"),
        ("/x/trees/{}/root/sub/path", "{}"),
        ("/x/trees/{}/root//deleted", "{}"),
        ("/x/trees/{}", None),
        ("/x/trees/other/root", None),
        ("/x/blobs/{}/root", None),
        ("/", None),
    ],
)
def test_a_mounts_root_tells_the_tree_that_it_shows(shelf, root, expected):
    digest = "ab" * 32
    assert is_digest(digest)
    expected = expected and expected.format(digest)
    assert shelf.layout.in_use(Path(root.format(digest))) == expected


# notes and manifests


def test_notes_and_manifests_that_nothing_can_use_are_forgotten_after_a_while(shelf, monkeypatch):
    staged_, held, idle = model("a"), model("b"), model("c")
    stage(shelf.store, staged_)
    shelf.store.save_manifest(held)
    shelf.store.holds.put(hold_of(held))
    stage(shelf.store, idle)
    shelf.store.retention.evict(idle.digest)
    shelf.store.tidy()
    assert shelf.store.manifest(idle.digest)
    monkeypatch.setattr(rubbish, "_FORGET_AFTER", -10)
    shelf.store.tidy()
    assert shelf.store.manifest(idle.digest) is None
    assert shelf.store.manifest(staged_.digest)
    assert shelf.store.manifest(held.digest)
    assert all(shelf.store.find(ORIGIN, item) for item in staged_.entries[:2])
    assert sum(path.is_symlink() for path in shelf.layout.knowns.rglob("*")) == 2


def test_saving_a_manifest_again_keeps_it_from_being_forgotten(shelf):
    manifest = model()
    shelf.store.save_manifest(manifest)
    os.utime(shelf.layout.manifest(manifest.digest), (1, 1))
    shelf.store.save_manifest(manifest)
    shelf.store.tidy()
    assert shelf.store.manifest(manifest.digest)
