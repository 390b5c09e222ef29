import os
import threading
from pathlib import Path

import pytest

from csi_model.node import readahead
from csi_model.node.readahead import ReadAhead
from csi_model.settings import PageCacheSettings
from csi_model.store import pages
from tests.node.warming import PATIENCE

PIECE = 64 * 1024
TREE = {"a/weights-2": 5 * PIECE + 100, "b/weights-1": PIECE, "config.json": 10, "empty": 0}
SIZE = sum(TREE.values())


class Room:
    """Room for a tree and a half of memory; ``gate`` holds whoever asks."""

    def __init__(self):
        self.size = SIZE * 3 // 2
        self.asked = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, *, kept):
        self.asked.set()
        assert self.gate.wait(PATIENCE)
        return self.size - kept


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Files that are out of memory as far as we are told, whatever the file system of the tests keeps."""
    monkeypatch.setattr(readahead, "_PIECE", PIECE)
    monkeypatch.setattr(pages, "resident", lambda *_: 0)
    for name, size in TREE.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    return tmp_path / "tree"


@pytest.fixture
def room():
    return Room()


@pytest.fixture
def ahead(room):
    made = ReadAhead(PageCacheSettings(), room=room)
    yield made
    room.gate.set()
    made.close()


@pytest.fixture
def busy(ahead, room, tree):
    """A read-ahead that is in the middle of its work until ``room.gate`` opens."""
    room.gate.clear()
    ahead.want("m", "a", tree)
    assert room.asked.wait(PATIENCE)
    return ahead


@pytest.fixture
def reads(monkeypatch):
    """Which file was read from where, in order."""
    seen = []
    real = os.preadv

    def preadv(fd, buffers, offset):
        seen.append((Path(f"/proc/self/fd/{fd}").readlink().name, offset))
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    return seen


def open_descriptors():
    return {path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}


def ended(ahead):
    ahead.wait()
    return ahead.figures().ended


def test_a_tree_is_read_to_the_end(ahead, tree):
    ahead.want("m", "a", tree)
    assert ended(ahead) == {"read": 1}
    assert (ahead.figures().read, ahead.figures().running) == (SIZE, 0)


def test_it_is_in_memory_then(ahead, tree, monkeypatch):
    monkeypatch.undo()
    file = os.open(tree / "a/weights-2", os.O_RDONLY)
    try:
        pages.forget(file)
        ahead.want("m", "a", tree)
        ahead.wait()
        assert pages.resident(file, 0, TREE["a/weights-2"]) == TREE["a/weights-2"]
    finally:
        os.close(file)


def test_one_reader_reads_in_the_order_of_paths(ahead, tree, reads, monkeypatch):
    monkeypatch.setattr(readahead, "_READERS", 1)
    ahead.want("m", "a", tree)
    ahead.wait()
    expected = [("weights-2", i * PIECE) for i in range(6)] + [("weights-1", 0), ("config.json", 0)]
    assert reads == expected


def test_what_is_in_memory_is_not_read_again(ahead, tree, reads, monkeypatch):
    monkeypatch.setattr(pages, "resident", lambda _, __, length: length)
    ahead.want("m", "a", tree)
    assert (ended(ahead), reads, ahead.figures().read) == ({"in_memory": 1}, [], 0)


def test_only_missing_bytes_count(ahead, tree, monkeypatch):
    monkeypatch.setattr(pages, "resident", lambda _, offset, length: length if offset else length // 2)
    ahead.want("m", "a", tree)
    ahead.wait()
    assert ahead.figures().read == PIECE // 2 * 2 + 5


def test_the_front_of_a_tree_that_does_not_fit_is_read(ahead, room, tree, reads, monkeypatch):
    monkeypatch.setattr(readahead, "_READERS", 1)
    room.size = 3 * PIECE + 1
    ahead.want("m", "a", tree)
    assert ended(ahead) == {"no_room": 1}
    assert reads == [("weights-2", i * PIECE) for i in range(3)]


def test_it_stops_when_a_workload_takes_the_memory_meanwhile(busy, room):
    room.size = 0
    room.gate.set()
    assert (ended(busy), busy.figures().read) == ({"no_room": 1}, 0)


def test_a_tree_has_one_run_however_many_want_it(busy, room, tree):
    busy.want("m", "b", tree)
    assert busy.figures().running == 1
    room.gate.set()
    assert (ended(busy), busy.figures().read) == ({"read": 1}, SIZE)


def test_two_trees_share_the_room(ahead, room, tree, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "weights").write_bytes(bytes(SIZE))
    room.gate.clear()
    ahead.want("m", "a", tree)
    ahead.want("n", "b", other)
    room.gate.set()
    ahead.wait()
    assert ahead.figures().read <= SIZE * 2


def test_it_stops_when_the_last_who_wanted_it_left(busy, room, tree):
    busy.want("m", "b", tree)
    busy.leave("m", "a")
    busy.leave("m", "b")
    room.gate.set()
    assert ended(busy) == {"unwanted": 1}
    assert busy.figures().read < SIZE


def test_it_goes_on_while_somebody_else_wants_it(busy, room, tree):
    busy.want("m", "b", tree)
    busy.leave("m", "a")
    room.gate.set()
    assert ended(busy) == {"read": 1}


def test_a_pod_that_comes_back_begins_anew(busy, room, tree):
    busy.leave("m", "a")
    busy.want("m", "a", tree)
    room.gate.set()
    assert ended(busy) == {"unwanted": 1, "read": 1}


def test_leaving_what_nobody_reads_is_no_error(ahead):
    ahead.leave("m", "a")


def test_closing_stops_it_and_nothing_begins_after(busy, room, tree):
    closing = threading.Thread(target=busy.close)
    closing.start()
    busy._running["m"].stop.wait(PATIENCE)
    room.gate.set()
    closing.join(PATIENCE)
    busy.want("m", "a", tree)
    assert (busy.figures().running, busy.figures().ended) == (0, {"unwanted": 1})


def test_a_tree_that_is_evicted_meanwhile_is_told_once_and_harms_nobody(busy, room, tree, caplog):
    for name in TREE:
        (tree / name).unlink()
    room.gate.set()
    assert ended(busy) == {"failed": 1}
    assert caplog.text.count("reading revision m ahead failed") == 1


def test_a_tree_that_is_not_there_fails_alone(ahead, tree):
    ahead.want("m", "a", tree / "nowhere")
    assert ended(ahead) == {"failed": 1}


def test_without_a_thread_to_be_had_the_caller_notices_nothing(ahead, tree, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        ahead.want("m", "a", tree)
    assert ahead.figures().running == 0


def test_links_are_not_followed(ahead, tree, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(SIZE))
    (tree / "link").symlink_to(tmp_path / "secret")
    ahead.want("m", "a", tree)
    assert (ended(ahead), ahead.figures().read) == ({"read": 1}, SIZE)


def test_no_descriptor_stays_open(ahead, tree):
    before = open_descriptors()
    ahead.want("m", "a", tree)
    ahead.wait()
    assert open_descriptors() == before


def test_never_means_never(tree, room):
    ahead = ReadAhead(PageCacheSettings("never"), room=room)
    ahead.want("m", "a", tree)
    assert (ahead.figures().running, ended(ahead)) == (0, {})


# by the node's verbs


@pytest.fixture
def wanted(node, monkeypatch):
    """Who wants which revision read ahead; nothing is read."""
    found = set()
    monkeypatch.setattr(node.agent.read_ahead, "want", lambda manifest, volume, root: found.add((manifest, volume)))
    monkeypatch.setattr(node.agent.read_ahead, "leave", lambda manifest, volume: found.discard((manifest, volume)))
    return found


def test_publishing_reads_ahead_for_the_pod(node, wanted):
    volume = node.create()
    node.stage(volume)
    assert wanted == set()  # what was fetched just now is the transfer's affair
    node.publish(volume)
    assert wanted == {(volume.manifest.digest, volume.volume_id)}


def test_staging_what_is_staged_already_reads_ahead(node, wanted):
    volume = node.create()
    node.stage(volume)
    node.stage(volume)
    assert wanted == {(volume.manifest.digest, volume.volume_id)}


def test_unpublishing_the_last_target_ends_it(node, wanted):
    volume = node.create()
    node.stage(volume)
    node.publish(volume, "pod-1")
    node.publish(volume, "pod-2")
    node.unpublish(volume, "pod-1")
    assert wanted
    node.unpublish(volume, "pod-2")
    assert not wanted


def test_unstaging_ends_it(node, wanted):
    volume = node.create()
    node.stage(volume)
    node.stage(volume)
    node.unstage(volume)
    assert not wanted


def test_status_tells_what_was_read_ahead(node):
    volume = node.create()
    node.stage(volume)
    node.publish(volume)
    node.agent.read_ahead.wait()
    told = node.keeper.status()["page_cache"]
    assert (told["running"], sum(told["ended"].values())) == (0, 1)
    assert told["room_bytes"] >= 0
