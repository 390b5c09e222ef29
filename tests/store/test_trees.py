"""Trees: what pods see, and what it costs."""

import os
import time
from pathlib import Path

import pytest

from csi_model.core.manifest import Manifest
from csi_model.errors import SourceInvalid, StoreUnusable
from tests.store.shelf import ORIGIN, content, entry, is_whole, model, put, stage


def test_a_tree_has_the_manifests_paths_and_bytes(shelf):
    deep = "/".join(f"d{n}" for n in range(31)) + "/f.bin"
    manifest = Manifest.of(ORIGIN, [entry(deep, 9_000), entry("a/b.json", 10), entry("a/c/empty", 0)])
    root = stage(shelf.store, manifest)
    assert root == shelf.layout.tree_root(manifest.digest)
    assert sum(path.is_file() for path in root.rglob("*")) == 3
    assert is_whole(shelf.store, manifest)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_0444_directories_0555_and_times_constant_whatever_the_umask(shelf, umask):
    before = os.umask(umask)
    try:
        root = stage(shelf.store, Manifest.of(ORIGIN, [entry("d/large", 9_000), entry("d/small", 9), entry("d/no", 0)]))
    finally:
        os.umask(before)
    for path in [root, *root.rglob("*")]:
        wanted = 0o555 if path.is_dir() else 0o444
        assert (path.stat().st_mode & 0o7777, path.stat().st_mtime) == (wanted, 0), path


def test_large_files_are_links_and_small_ones_copies(shelf):
    manifest = Manifest.of(ORIGIN, [entry("large", 4096), entry("small", 4095)])
    root = stage(shelf.store, manifest)
    large, small = (shelf.layout.blob(shelf.store.find(ORIGIN, item)) for item in manifest.entries)
    assert large.samefile(root / "large")
    assert not small.samefile(root / "small")


def test_two_revisions_share_what_they_have_in_common(shelf):
    both = entry("shard-1", 9_000)
    first, second = (Manifest.of(ORIGIN, [both, entry("shard-2", 9_000, pin=pin)]) for pin in ("v1", "v2"))
    roots = [stage(shelf.store, manifest) for manifest in (first, second)]
    assert (roots[0] / "shard-1").samefile(roots[1] / "shard-1")


def test_a_missing_blob_is_named(shelf):
    with pytest.raises(LookupError, match=r"part-0\.bin"):
        shelf.store.assemble(model())


def test_a_blob_that_goes_while_the_tree_is_built_is_a_lookup_error_and_leaves_nothing(shelf, monkeypatch):
    manifest = model()
    for item in manifest.entries[:-1]:
        put(shelf.store, item)
    link = os.link

    def steal(source, target):
        Path(source).unlink()
        link(source, target)

    monkeypatch.setattr(os, "link", steal)
    with pytest.raises(LookupError):
        shelf.store.assemble(manifest)
    assert list(shelf.layout.assembly.iterdir()) == []
    assert shelf.store.tree(manifest.digest) is None


def test_a_tree_is_not_revealed_if_a_blob_was_condemned_meanwhile(shelf, monkeypatch):
    manifest = model()
    for item in manifest.entries[:-1]:
        put(shelf.store, item)
    digest = shelf.store.find(ORIGIN, manifest.entries[0])
    link = os.link

    def condemn_after(source, target):
        link(source, target)
        shelf.store.retention.condemn("0" * 64, [digest])

    monkeypatch.setattr(os, "link", condemn_after)
    with pytest.raises(LookupError):
        shelf.store.assemble(manifest)
    assert shelf.store.tree(manifest.digest) is None


def test_a_tree_built_twice_at_once_is_there_once_and_the_first_stays(shelf):
    manifest = model()
    first = stage(shelf.store, manifest).stat().st_ino
    digests = {item.path: shelf.store.find(ORIGIN, item) for item in manifest.entries if item.size}
    assert shelf.store.trees.build(manifest, digests).stat().st_ino == first
    assert list(shelf.layout.assembly.iterdir()) == []


def test_a_tree_without_a_root_is_no_tree_and_is_replaced(shelf):
    manifest = model()
    (shelf.layout.tree(manifest.digest) / "odd").mkdir(parents=True)
    assert shelf.store.tree(manifest.digest) is None
    stage(shelf.store, manifest)
    assert is_whole(shelf.store, manifest)


@pytest.mark.parametrize("name", ["..", "", "x" * 64, "A" * 64])
def test_only_a_digest_names_a_tree(shelf, name):
    (shelf.layout.trees / name / "root").mkdir(parents=True)
    assert shelf.store.tree(name) is None


def test_a_path_may_have_any_letter_that_a_manifest_may(shelf):
    odd = [" a", "a b", "ä\u2028b", "x\u0085y", "日本", "-", "\u2029"]
    manifest = Manifest.of(ORIGIN, [entry(path, 5_000) for path in odd])
    stage(shelf.store, manifest)
    assert set(shelf.store.trees.index(manifest.digest)) == set(odd)


@pytest.mark.parametrize("damage", [b"", b"nonsense\n", b"\xff\xff", b"ab cd\n", b"-"])
def test_a_damaged_index_is_told(shelf, damage):
    manifest = model()
    stage(shelf.store, manifest)
    shelf.layout.index(manifest.digest).write_bytes(damage)
    with pytest.raises(SourceInvalid, match="damaged"):
        shelf.store.trees.index(manifest.digest)


def test_touch_and_pin_do_not_hinder_each_other(shelf):
    manifest = model()
    stage(shelf.store, manifest)
    os.utime(shelf.layout.tree(manifest.digest), (50, 50))
    shelf.store.trees.pin(manifest.digest)
    shelf.store.trees.pin(manifest.digest)
    (tree,) = shelf.store.trees.all()
    assert (tree.pinned, tree.released) == (True, 50)


def test_touching_a_tree_that_is_not_there_is_no_error(shelf):
    shelf.store.trees.touch("0" * 64)


def test_a_disk_that_fails_is_unusable(shelf, monkeypatch):
    manifest = model()
    for item in manifest.entries[:-1]:
        put(shelf.store, item)

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(StoreUnusable, match=r"assembling revision .* Input/output error"):
        shelf.store.assemble(manifest)
    assert list(shelf.layout.assembly.iterdir()) == []


# many links


def identical(count):
    data = content("same", 4096)
    return data, Manifest.of(ORIGIN, [entry(f"{n // 1000}/{n}.bin", 4096, key="same") for n in range(count)])


def test_more_files_than_one_inode_has_links_start_a_second_inode(shelf, monkeypatch):
    link = os.link

    def limited(source, target):
        if Path(source).stat().st_nlink >= 7:
            raise OSError(31, "Too many links")
        link(source, target)

    monkeypatch.setattr(os, "link", limited)
    data, manifest = identical(20)
    digest = put(shelf.store, manifest.entries[0], data)
    root = shelf.store.assemble(manifest)
    assert {path.read_bytes() for path in root.rglob("*.bin")} == {data}
    assert [path.stat().st_nlink for path in shelf.store.blobs.files_of(digest)] == [7, 7, 7, 3]
    assert all(path.stat().st_mode & 0o7777 == 0o444 for path in shelf.store.blobs.files_of(digest))
    assert shelf.store.retention.evictable_bytes(list(shelf.store.trees.all())) == 4096 * 4
    shelf.store.retention.evict(manifest.digest)
    assert shelf.store.blobs.files_of(digest) == []


def test_seventy_thousand_identical_files_take_seconds(shelf):
    data, manifest = identical(70_000)
    digest = put(shelf.store, manifest.entries[0], data)
    began = time.monotonic()
    root = shelf.store.assemble(manifest)
    assert time.monotonic() - began < 60  # seconds: a few here, more on a busy machine
    assert sum(len(files) for _, _, files in os.walk(root)) == 70_000
    assert sum(path.stat().st_nlink - 1 for path in shelf.store.blobs.files_of(digest)) == 70_000
