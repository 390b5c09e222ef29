"""Opening: one owner, of a known layout, in a moment."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from csi_model.core.treehash import digest_of
from csi_model.errors import StoreLocked, StoreUnusable
from csi_model.settings import StoreSettings
from csi_model.store.store import Store
from tests.store.faults import failing, steps_of
from tests.store.shelf import Shelf, content, entry, model, put, stage

OWNER = """
import sys
from pathlib import Path
from csi_model.settings import StoreSettings
from csi_model.store.store import Store
store = Store(StoreSettings(Path(sys.argv[1])))
print("mine", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def owner(tmp_path):
    """Another process that owns a store."""
    command = [sys.executable, "-c", OWNER, str(tmp_path / "store")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()) as process:
        assert process.stdout.readline() == b"mine\n"
        yield process
        process.kill()


def test_a_second_agent_is_told_which_process_owns_the_store(tmp_path, owner):
    with pytest.raises(StoreLocked, match=f"process {owner.pid}"):
        Store(StoreSettings(tmp_path / "store"))


def test_a_killed_owner_frees_the_store(tmp_path, owner):
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    Store(StoreSettings(tmp_path / "store")).close()


def test_a_second_store_in_this_process_is_refused_too(shelf):
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
        Store(shelf.settings)


def test_closing_twice_closes_nothing_else(shelf):
    shelf.store.close()
    with Path(os.devnull).open() as other:
        shelf.store.close()
        os.fstat(other.fileno())
    shelf.reopen()


def test_the_root_is_private(shelf):
    assert shelf.layout.root.stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize("version", [b"2\n", b"0", b"10"])
def test_another_layout_version_is_refused_and_named(shelf, version):
    shelf.layout.version.write_bytes(version)
    with pytest.raises(StoreUnusable, match=f"layout version {int(version)}"):
        shelf.reopen()


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"one", b"1 1", b"-1"])
def test_a_damaged_version_file_does_not_stop_the_agent(shelf, damage):
    manifest = model()
    stage(shelf.store, manifest)
    shelf.layout.version.write_bytes(damage)
    assert shelf.reopen().tree(manifest.digest)
    assert shelf.layout.version.read_bytes() == b"1\n"


def test_a_directory_of_somebody_else_is_refused_untouched(tmp_path):
    (tmp_path / "precious").write_text("data")
    tmp_path.chmod(0o755)
    with pytest.raises(StoreUnusable, match=r"neither empty nor a store.*precious"):
        Store(StoreSettings(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert tmp_path.stat().st_mode & 0o7777 == 0o755


def test_the_root_of_a_fresh_file_system_is_no_stranger(tmp_path):
    (tmp_path / "lost+found").mkdir()
    Store(StoreSettings(tmp_path)).close()


def test_a_missing_parent_is_told(tmp_path):
    with pytest.raises(StoreUnusable, match="No such file"):
        Store(StoreSettings(tmp_path / "no" / "store"))


def test_a_file_instead_of_a_directory_is_told(tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreUnusable, match="opening the store"):
        Store(StoreSettings(tmp_path / "store"))


def test_a_refused_opening_leaves_no_lock_behind(shelf):
    shelf.layout.version.write_bytes(b"2")
    with pytest.raises(StoreUnusable):
        shelf.reopen()
    shelf.layout.version.write_bytes(b"1")
    shelf.reopen()


def test_what_an_earlier_life_was_building_is_set_aside_and_deleted_by_tidy(shelf):
    (shelf.layout.assembly / "tree" / "root").mkdir(parents=True)
    (shelf.layout.assembly / "small-1").write_bytes(b"x")
    store = shelf.reopen()
    assert list(shelf.layout.assembly.iterdir()) == []
    store.tidy()
    assert list(shelf.layout.trash.iterdir()) == []


def test_a_full_disk_does_not_stop_the_agent_from_starting(disk):
    with Shelf(disk / "store") as shelf:
        manifest = model()
        stage(shelf.store, manifest)
        (shelf.layout.assembly / "leftover").write_bytes(b"x" * 5000)
        with pytest.raises(OSError, match="No space"):
            (disk / "filler").write_bytes(bytes(100 * 2**20))
        assert shelf.reopen().tree(manifest.digest)
        shelf.store.tidy()
        assert shelf.store.tree(manifest.digest) is None


def test_what_a_full_disk_refuses_while_opening_is_done_without(shelf):
    def reopen():
        (shelf.layout.assembly / "leftover").mkdir(exist_ok=True)
        shelf.reopen()

    for place, (step, name) in enumerate(steps_of(reopen)):
        if step in ("ftruncate", "pwrite", "rename"):
            struck, error = failing(reopen, place, errno.ENOSPC)
            assert (struck, error) == (True, None), (step, name)


def test_opening_reads_no_directory_that_grows_with_the_store(shelf, monkeypatch):
    for n in range(20):
        put(shelf.store, entry(f"{n}", 50))
    stage(shelf.store, model())
    read = []
    real = {name: getattr(os, name) for name in ("scandir", "listdir")}
    for name, call in real.items():
        monkeypatch.setattr(os, name, lambda path=".", call=call: read.append(Path(path).name) or call(path))
    shelf.reopen()
    assert set(read) == {"store", "assembly", "holds"}


def test_opening_a_store_of_5000_blobs_and_trees_makes_a_handful_of_system_calls(disk, monkeypatch):
    with Shelf(disk / "store") as shelf:
        for n in range(5000):
            blob = shelf.layout.blob(f"{n:064x}"[::-1])
            blob.parent.mkdir(exist_ok=True)
            blob.touch()
            shelf.layout.tree_root(f"{n:064x}").mkdir(parents=True)
        calls = []
        for name in ("stat", "open", "mkdir", "rename"):
            call = getattr(os, name)
            monkeypatch.setattr(os, name, lambda *args, call=call, **kw: calls.append(args) or call(*args, **kw))
        shelf.reopen()
    assert len(calls) < 50


def test_a_kept_manifest_needs_no_network(shelf):
    manifest = model()
    shelf.store.save_manifest(manifest)
    shelf.store.save_manifest(manifest)
    assert shelf.reopen().manifest(manifest.digest) == manifest


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b'{"version":1,"origin":"o","entries":[]}'])
def test_a_damaged_manifest_is_none_and_can_be_saved_again(shelf, damage):
    manifest = model()
    shelf.store.save_manifest(manifest)
    shelf.layout.manifest(manifest.digest).write_bytes(damage)
    assert shelf.store.manifest(manifest.digest) is None
    shelf.store.save_manifest(manifest)
    assert shelf.store.manifest(manifest.digest) == manifest


def damage_notes(shelf, damage):
    for note in [path for path in shelf.layout.knowns.rglob("*") if path.is_symlink()]:
        note.unlink()
        damage(note)


@pytest.mark.parametrize(
    "damage",
    [
        lambda note: note.write_bytes(b"\xff" * 64),
        lambda note: note.write_text("0" * 64),  # what notes were before they were links
        lambda note: note.symlink_to("A" * 42),
        lambda note: note.symlink_to(f"{'A' * 42}\udcff"),
        lambda note: note.symlink_to("A" * 4000),
    ],
)
def test_a_damaged_note_costs_a_second_fetch_and_nothing_else(shelf, damage):
    item = entry("a", 50)
    put(shelf.store, item)
    damage_notes(shelf, damage)
    assert shelf.store.find("s3+https://s3.example.com/models", item) is None
    assert put(shelf.store, item, content(item.key, 50)) == digest_of(content(item.key, 50))


def test_a_note_that_is_no_digest_names_no_file(shelf):
    item = entry("a", len(shelf.layout.version.read_bytes()))
    put(shelf.store, item)
    damage_notes(shelf, lambda note: note.symlink_to("../../VERSION"))
    assert shelf.store.find("s3+https://s3.example.com/models", item) is None
