"""Damage at rest: found by the chunk, taken away with every copy that has it, and fetched alone."""

import fcntl
import os
from pathlib import Path

import pytest

from csi_model.core.manifest import Manifest
from csi_model.store.scrub import scrub
from csi_model.transfer.plan import Plan
from tests.store.shelf import ORIGIN, entry, is_whole, model, put, stage

MODEL = model(sizes=(20_000, 9_000, 300, 0))


def flip(path, place):
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    path.chmod(0o444)


def problems(shelf, manifest=MODEL):
    return {file.path: file for file in scrub(shelf.store, manifest.digest, skip=set()) if file.problem}


def missing(shelf, manifest=MODEL):
    return [e.path for e in Plan.of(manifest, shelf.store.present(manifest)).missing]


def test_a_whole_tree_has_no_problem(shelf):
    stage(shelf.store, MODEL)
    found = list(scrub(shelf.store, MODEL.digest, skip=set()))
    assert [(file.path, file.size, file.problem) for file in found] == [
        ("part-0.bin", 20_000, ""), ("part-1.bin", 9_000, ""), ("part-2.bin", 300, ""), ("part-3.bin", 0, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(("place", "start", "end"), [(0, 0, 4096), (8_192, 8_192, 12_288), (19_999, 16_384, 20_000)])
def test_a_flipped_byte_is_found_in_its_chunk(shelf, place, start, end):
    root = stage(shelf.store, MODEL)
    flip(root / "part-0.bin", place)
    (found,) = problems(shelf).values()
    assert (found.path, found.damaged) == ("part-0.bin", ((start, end),))
    assert f"{start}-{end - 1}" in found.problem


def test_without_chunk_digests_the_whole_file_is_named(shelf):
    root = stage(shelf.store, MODEL)
    shelf.layout.chunks(shelf.store.find(ORIGIN, MODEL.entries[0])).unlink()
    flip(root / "part-0.bin", 9_000)
    assert problems(shelf)["part-0.bin"].damaged == ((0, 20_000),)


@pytest.mark.parametrize("size", [19_999, 16_384, 0])
def test_a_file_that_lost_its_end_is_found(shelf, size):
    root = stage(shelf.store, MODEL)
    (root / "part-0.bin").chmod(0o600)
    with (root / "part-0.bin").open("r+b") as file:
        file.truncate(size)
    assert set(problems(shelf)) == {"part-0.bin"}


def test_a_damaged_copy_of_a_small_file_is_found(shelf):
    root = stage(shelf.store, MODEL)
    flip(root / "part-2.bin", 7)
    assert set(problems(shelf)) == {"part-2.bin"}


def test_a_file_that_is_gone_or_should_be_empty_is_found(shelf):
    root = stage(shelf.store, MODEL)
    root.chmod(0o700)
    (root / "part-1.bin").unlink()
    (root / "part-3.bin").chmod(0o600)
    (root / "part-3.bin").write_bytes(b"x")
    assert {path: file.problem for path, file in problems(shelf).items()} == {
        "part-1.bin": "can't be read: No such file or directory", "part-3.bin": "should be empty",
    }  # fmt: skip


def test_what_was_found_well_in_one_tree_is_not_read_again_in_another(shelf, monkeypatch):
    second = Manifest.of(ORIGIN, [*MODEL.entries, entry("more", 5_000)])
    for manifest in (MODEL, second):
        stage(shelf.store, manifest)
    seen = set()
    list(scrub(shelf.store, MODEL.digest, skip=seen))
    read = []
    check = scrub.__globals__["_check"]
    monkeypatch.setitem(scrub.__globals__, "_check", lambda file, *rest: read.append(file.name) or check(file, *rest))
    assert not any(file.problem for file in scrub(shelf.store, second.digest, skip=seen))
    assert sorted(read) == ["more", "part-2.bin"]  # small files are copies: each is read


def test_damage_is_found_in_every_tree_that_has_it(shelf):
    second = Manifest.of(ORIGIN, [*MODEL.entries, entry("more", 5_000)])
    for manifest in (MODEL, second):
        root = stage(shelf.store, manifest)
    flip(root / "part-0.bin", 1)
    seen = set()
    for manifest in (MODEL, second):
        assert [f.path for f in scrub(shelf.store, manifest.digest, skip=seen) if f.problem] == ["part-0.bin"]


def test_a_file_system_that_refuses_direct_reads_is_read_through_the_page_cache(shelf, monkeypatch):
    flip(stage(shelf.store, MODEL) / "part-0.bin", 5_000)
    preadv, direct = os.preadv, []

    def strict(descriptor, buffers, offset):
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            direct.append(offset)
            raise OSError(22, "Invalid argument")
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", strict)
    assert problems(shelf)["part-0.bin"].damaged == ((4096, 8192),)
    assert direct


# what follows


def condemn(shelf, manifest=MODEL):
    damaged = [file.digest for file in problems(shelf, manifest).values()]
    return shelf.store.retention.condemn(manifest.digest, damaged)


def test_every_tree_with_the_damaged_blob_is_withdrawn_and_only_that_file_is_wanted_again(shelf):
    other = Manifest.of(ORIGIN, [MODEL.entries[0], entry("own", 5_000)])
    third = model("third")
    for manifest in (MODEL, other, third):
        stage(shelf.store, manifest)
    flip(shelf.layout.tree_root(MODEL.digest) / "part-0.bin", 1)
    assert sorted(condemn(shelf)) == sorted([MODEL.digest, other.digest])
    assert missing(shelf) == ["part-0.bin"]
    assert missing(shelf, other) == ["part-0.bin"]
    put(shelf.store, MODEL.entries[0])
    for manifest in (MODEL, other):
        shelf.store.assemble(manifest)
        assert is_whole(shelf.store, manifest)
    assert is_whole(shelf.store, third)


def test_a_damaged_empty_file_takes_only_its_own_tree_away(shelf):
    other = Manifest.of(ORIGIN, [entry("empty", 0), entry("own", 5_000)])
    for manifest in (MODEL, other):
        root = stage(shelf.store, manifest)
    (root / "empty").chmod(0o600)
    (root / "empty").write_bytes(b"x")
    assert condemn(shelf, other) == [other.digest]
    assert shelf.store.tree(MODEL.digest)
    assert missing(shelf, other) == []


def test_a_tree_that_cannot_tell_what_it_has_is_withdrawn_too(shelf):
    third = model("third")
    for manifest in (MODEL, third):
        stage(shelf.store, manifest)
    shelf.layout.index(third.digest).write_bytes(b"nonsense")
    flip(shelf.layout.tree_root(MODEL.digest) / "part-0.bin", 1)
    assert sorted(condemn(shelf)) == sorted([MODEL.digest, third.digest])
    assert missing(shelf, third) == []


def test_all_inodes_of_a_condemned_blob_go(shelf, monkeypatch):
    link = os.link

    def limited(source, target):
        if Path(source).stat().st_nlink >= 3:
            raise OSError(31, "Too many links")
        link(source, target)

    monkeypatch.setattr(os, "link", limited)
    manifest = Manifest.of(ORIGIN, [entry(f"{n}.bin", 4096, key="same") for n in range(5)])
    digest = put(shelf.store, manifest.entries[0])
    root = shelf.store.assemble(manifest)
    flip(root / "4.bin", 0)
    assert condemn(shelf, manifest) == [manifest.digest]
    assert shelf.store.blobs.files_of(digest) == []
