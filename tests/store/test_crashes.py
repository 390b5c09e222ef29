"""Whatever the store is doing: at every step the process may die, or the disk may fail.

After each such fault the store opens, nothing that is visible is less than whole, and the same thing can be done again.
"""

import errno
import itertools
from dataclasses import dataclass, field

import pytest

from csi_model.core.manifest import Manifest
from csi_model.core.treehash import chunk_digest, digest_of
from csi_model.errors import NodeError
from csi_model.settings import StoreSettings
from csi_model.store.durable import translated
from csi_model.store.store import Store
from tests.store.faults import crashing, failing, steps_of
from tests.store.shelf import ORIGIN, Shelf, content, entry, hold_of, is_whole, model, put, stage, write_chunks

LARGE = entry("large.bin", 13_000)
SMALLS = [entry(f"{n}.json", 60 + n) for n in range(6)]
MODEL = model()
WIDE = Manifest.of(ORIGIN, [entry(f"d{n}/f{n}", 100 if n % 2 else 5_000) for n in range(10)])
OTHER = model("other")


def nothing(store):
    """Prepare nothing."""


def bring_large(store):
    """What an engine does: only what isn't durable yet."""
    if store.find(ORIGIN, LARGE) is None:
        with store.ingest(ORIGIN, LARGE) as ingest:
            write_chunks(ingest, content(LARGE.key, LARGE.size), [n for n in (0, 1, 2, 3) if n not in ingest.landed])
            ingest.commit()


def half_of_large(store):
    with store.ingest(ORIGIN, LARGE) as ingest:
        write_chunks(ingest, content(LARGE.key, LARGE.size), [1, 3])
        ingest.checkpoint()


def discard_large(store):
    with store.ingest(ORIGIN, LARGE) as ingest:
        ingest.discard()


def bring_smalls(store, items=SMALLS):
    batch = store.small_files(ORIGIN)
    try:
        for item in items:
            data = content(item.key, item.size)
            batch.write(item, memoryview(data), digest=chunk_digest(data))
        batch.commit()
    finally:
        batch.abandon()


def bring_two_smalls(store):
    bring_smalls(store, SMALLS[:2])


def bring_model(store, manifest=MODEL):
    for item in manifest.entries:
        if item.size:
            put(store, item)


def bring_wide(store):
    bring_model(store, WIDE)


def put_hold(store):
    with translated("holding"):
        store.holds.put(hold_of(MODEL, pin=True))


def put_other_hold(store):
    with translated("holding"):
        store.holds.put(hold_of(OTHER))


def drop_hold(store):
    with translated("releasing"):
        store.holds.drop("pvc-1")


def stage_both(store):
    stage(store, MODEL)
    stage(store, OTHER)


def evict(store):
    with translated("evicting"):
        store.retention.evict(OTHER.digest)


def condemn(store):
    digests = [digest for item in OTHER.entries if (digest := store.find(ORIGIN, item))]
    with translated("condemning"):
        store.retention.condemn(OTHER.digest, digests)


def leave_rubbish(store):
    stage_both(store)
    put(store, LARGE)
    half_of_large(store)
    store.trees.remove(OTHER.digest, lambda path: path.rename(store.layout.discarded(path)))


def pin(store):
    with translated("pinning"):
        store.trees.pin(MODEL.digest)


@dataclass(frozen=True)
class Scene:
    name: str
    act: object
    prepare: object = nothing
    done: object = field(default=lambda store: True)


SCENES = [
    Scene("commit", bring_large, done=lambda store: store.find(ORIGIN, LARGE)),
    Scene("resume", bring_large, half_of_large, done=lambda store: store.find(ORIGIN, LARGE)),
    Scene("discard", discard_large, half_of_large, done=lambda store: store.allocated(ORIGIN, LARGE) == 0),
    Scene("small files", bring_smalls, done=lambda store: all(store.find(ORIGIN, item) for item in SMALLS)),
    Scene("two small files", bring_two_smalls, done=lambda store: store.find(ORIGIN, SMALLS[1])),
    Scene("assemble", lambda s: s.assemble(MODEL), bring_model, done=lambda store: store.tree(MODEL.digest)),
    Scene("assemble many", lambda s: s.assemble(WIDE), bring_wide, done=lambda store: store.tree(WIDE.digest)),
    Scene("hold", put_hold, done=lambda store: store.holds.held() == {MODEL.digest}),
    Scene("hold again", put_hold, put_other_hold, done=lambda store: store.holds.held() == {MODEL.digest}),
    Scene("release", drop_hold, put_hold, done=lambda store: not store.holds.held()),
    Scene("pin", pin, stage_both, done=lambda store: any(tree.pinned for tree in store.trees.all())),
    Scene("evict", evict, stage_both, done=lambda store: store.tree(OTHER.digest) is None),
    Scene("condemn", condemn, stage_both, done=lambda store: store.tree(OTHER.digest) is None),
    Scene("tidy", lambda s: s.tidy(), leave_rubbish, done=lambda store: not any(store.layout.trash.iterdir())),
    Scene("manifest", lambda s: s.save_manifest(MODEL), done=lambda store: store.manifest(MODEL.digest) == MODEL),
]


def check(store):
    """Nothing visible is less than whole."""
    for directory in store.layout.blobs.iterdir():
        for path in directory.iterdir():
            if path.suffix != ".chunks":
                assert digest_of(path.read_bytes()) == directory.name + path.name
                assert path.stat().st_mode & 0o7777 == 0o444
    for tree in store.trees.all():
        manifest = next(manifest for manifest in (MODEL, WIDE, OTHER) if manifest.digest == tree.manifest)
        assert is_whole(store, manifest)
        assert all(path.stat().st_mode & 0o222 == 0 for path in (tree.root, *tree.root.rglob("*")))
        assert store.trees.index(tree.manifest).keys() == {item.path for item in manifest.entries}
    assert store.holds.unreadable == set()


def played(root, scene, k):
    """A store in which the scene is about to be played."""
    shelf = Shelf(root / str(k))
    scene.prepare(shelf.store)
    return shelf


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_crash_at_any_step_leaves_nothing_half(disk, small_chunks, scene):
    for k in itertools.count():
        with played(disk, scene, k) as shelf:
            struck = crashing(lambda shelf=shelf: scene.act(shelf.store), k)
            held = {hold.manifest for hold in shelf.store.holds.all()}
            store = shelf.reopen()
            check(store)
            assert held <= store.holds.held() | {MODEL.digest, OTHER.digest}
            scene.act(store)
            assert scene.done(store)
            store.tidy()
            check(store)
            assert list(shelf.layout.assembly.iterdir()) == []
            assert scene.done(shelf.reopen())
        if not struck:
            break
    assert k > 1


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_at_any_step_gives_a_typed_error_and_a_second_chance(disk, small_chunks, scene, code):
    for k in itertools.count():
        with played(disk, scene, k) as shelf:
            struck, error = failing(lambda shelf=shelf: scene.act(shelf.store), k, code)
            assert error is None or isinstance(error, NodeError), (k, error)
            check(shelf.store)
            scene.act(shelf.store)
            assert scene.done(shelf.store)
            check(shelf.store)
            assert list(shelf.layout.assembly.iterdir()) == []
            assert scene.done(shelf.reopen())
        if not struck:
            break
    assert k > 1


def test_a_crash_while_a_store_is_made_leaves_one_that_opens(disk):
    for k in itertools.count():
        root = disk / str(k)
        stores = []
        struck = crashing(lambda root=root, stores=stores: stores.append(Store(StoreSettings(root))), k)
        for store in stores:
            store.close()
        Store(StoreSettings(root)).close()
        if not struck:
            break
    assert k > 10


def test_a_crash_while_a_store_is_opened_leaves_one_that_opens(disk, small_chunks):
    for k in itertools.count():
        with Shelf(disk / str(k)) as shelf:
            stage(shelf.store, MODEL)
            (shelf.layout.assembly / "work").mkdir()
            put_hold(shelf.store)
            struck = crashing(shelf.reopen, k)
            check(shelf.reopen())
            assert shelf.store.holds.held() == {MODEL.digest}
            assert shelf.store.tree(MODEL.digest)
        if not struck:
            break
    assert k > 2


def test_a_blob_lost_after_a_crash_at_commit_is_fetched_anew_and_not_made_of_an_old_ledger(disk, small_chunks):
    for k in itertools.count():
        with Shelf(disk / str(k)) as shelf:
            struck = crashing(lambda shelf=shelf: bring_large(shelf.store), k)
            store = shelf.reopen()
            if digest := store.find(ORIGIN, LARGE):
                store.blobs.remove_unlinked(digest)
            bring_large(store)
            check(store)
            assert store.find(ORIGIN, LARGE) == digest_of(content(LARGE.key, LARGE.size))
        if not struck:
            break


def test_a_hold_is_never_between_the_old_and_the_new(disk):
    for k in itertools.count():
        with Shelf(disk / str(k)) as shelf:
            put_other_hold(shelf.store)
            struck = crashing(lambda shelf=shelf: put_hold(shelf.store), k)
            assert shelf.reopen().holds.held() in ({MODEL.digest}, {OTHER.digest})
        if not struck:
            break


def test_the_order_of_a_commit(shelf):
    """The bytes are durable before the ledger says so, all of it before the rename, and then the rename."""
    half_of_large(shelf.store)
    digest = digest_of(content(LARGE.key, LARGE.size))
    steps = steps_of(lambda: bring_large(shelf.store))
    order = [
        ("pwrite", "data"), ("fdatasync", "data"), ("write", "ledger"), ("fdatasync", "ledger"), ("fchmod", "data"),
        ("fsync", "data"), ("rename", f"{digest[2:]}.chunks"), ("rename", digest[2:]), ("fsync", digest[:2]),
    ]  # fmt: skip
    places = [len(steps) - 1 - steps[::-1].index(step) for step in order]
    assert places == sorted(places)


def test_the_order_of_a_replaced_file(shelf):
    steps = [name for name, _ in steps_of(lambda: put_hold(shelf.store))]
    assert steps == ["create", "write", "fsync", "rename", "fsync"]


@pytest.mark.parametrize("items", [SMALLS[:2], SMALLS])
def test_the_order_of_a_batch(shelf, items):
    """Every file is durable before the first is visible."""
    steps = steps_of(lambda: bring_smalls(shelf.store, items))
    blobs = {digest_of(content(item.key, item.size))[2:] for item in items}
    first = min(place for place, (name, file) in enumerate(steps) if name == "rename" and file in blobs)
    written = {file for name, file in steps if name == "pwrite"}
    synced = {file for name, file in steps[:first] if name == "fsync"}
    assert len(written) == len(items)
    assert written <= synced or "syncfs" in [name for name, _ in steps[:first]]


@pytest.mark.parametrize("manifest", [MODEL, WIDE])
def test_the_order_of_an_assembly(shelf, manifest):
    """Everything in the tree is durable before it is visible, and then its rename is."""
    bring_model(shelf.store, manifest)
    shelf.store.save_manifest(manifest)
    steps = steps_of(lambda: shelf.store.assemble(manifest))
    assert steps[-2:] == [("rename", manifest.digest), ("fsync", "trees")]
    synced = {file for name, file in steps if name == "fsync"}
    copies = {item.path.rpartition("/")[2] for item in manifest.entries if item.size < 4096}
    assert {"root", "index", *copies} <= synced or "syncfs" in [name for name, _ in steps]
