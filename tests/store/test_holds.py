"""Holds survive everything, and nothing in them stops an agent from starting."""

import json
import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csi_model.core.capability import AccessMode, Capability
from csi_model.core.volume import Claim
from csi_model.errors import StoreUnusable
from csi_model.store import holds
from csi_model.store.durable import translated, write_file
from csi_model.store.holds import Target
from tests.store.shelf import hold_of, model, stage

MODEL = model()
TARGET = Target(Capability(AccessMode.SINGLE_NODE_SINGLE_WRITER, mount_flags=("noexec",)), read_only=True)
ODD_IDS = ["pvc-1", "../../etc/passwd", "", ".", "a/b", "x" * 128, "ünï\u2028", "nul\0byte", "\udcff", "a\nb"]


@pytest.mark.parametrize("volume_id", ODD_IDS)
def test_a_hold_is_there_in_the_next_life_whatever_the_volume_is_called(shelf, volume_id):
    hold = hold_of(MODEL, volume_id).with_target("/pods/1/mount", TARGET)
    shelf.store.holds.put(hold)
    assert shelf.reopen().holds.get(volume_id) == hold
    assert shelf.store.holds.held() == {MODEL.digest}
    assert sum(1 for _ in shelf.layout.holds.iterdir()) == 1


@pytest.mark.parametrize("claim", [Claim("chat", "qwen", "7f1d"), Claim("chat", "qwen"), None])
@pytest.mark.parametrize("ephemeral", [True, False])
def test_whom_a_hold_is_for_and_whether_it_is_a_pods_own_survives(shelf, claim, ephemeral):
    hold = replace(hold_of(MODEL), claim=claim, ephemeral=ephemeral)
    shelf.store.holds.put(hold)
    assert shelf.reopen().holds.get("pvc-1") == hold


def test_a_hold_of_the_first_release_is_read_as_a_staged_volume_of_nobody(shelf):
    shelf.layout.hold("pvc-1").write_text(json.dumps(valid()))
    hold = shelf.reopen().holds.get("pvc-1")
    assert (hold.claim, hold.ephemeral) == (None, False)


def test_a_target_can_be_taken_out_again(shelf):
    hold = hold_of(MODEL).with_target("/a", TARGET).with_target("/b", TARGET).without_target("/a")
    shelf.store.holds.put(hold)
    assert set(shelf.reopen().holds.get("pvc-1").targets) == {"/b"}


def test_a_dropped_hold_is_gone_for_good(shelf):
    shelf.store.holds.put(hold_of(MODEL))
    assert shelf.store.holds.drop("pvc-1") == hold_of(MODEL)
    assert shelf.store.holds.drop("pvc-1") is None
    assert shelf.reopen().holds.all() == []


def test_a_hold_that_could_not_be_dropped_is_still_held_and_can_be_dropped_again(shelf, monkeypatch):
    shelf.store.holds.put(hold_of(MODEL))

    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "unlink", fail)
        with pytest.raises(StoreUnusable), translated("releasing"):
            shelf.store.holds.drop("pvc-1")
    assert shelf.store.holds.held() == {MODEL.digest}
    assert shelf.store.holds.drop("pvc-1") is not None
    assert shelf.reopen().holds.all() == []


def valid(**changes):
    return {
        "version": 1, "volume_id": "pvc-1", "manifest": MODEL.digest, "staging_path": "/s", "context": {}, "bytes": 1,
        "files": 1, "pin": False, "capacity": 1, "since": 1.0, "targets": {},
        "capability": {"mode": 3, "block": False, "fs_type": "", "mount_flags": []}, **changes,
    }  # fmt: skip


DAMAGED = [
    b"", b"{", b"[]", b"null", b"\xff\xff", b"{}", b"[" * 100_000,
    *(json.dumps(valid(**change)).encode() for change in [
        {"version": 2}, {"manifest": "../../etc"}, {"manifest": None}, {"volume_id": 7}, {"staging_path": None},
        {"context": []}, {"context": {"a": 1}}, {"bytes": "many"}, {"files": 1.5}, {"since": float("nan")},
        {"since": "yesterday"}, {"targets": []}, {"targets": {"/a": {}}}, {"capability": {"mode": 99}},
        {"pin": "yes"}, {"ephemeral": "yes"}, {"ephemeral": None}, {"claim": "chat/qwen"}, {"claim": {"name": "qwen"}},
        {"claim": {"namespace": "chat", "name": "qwen"}}, {"claim": {"namespace": "chat", "name": "qwen", "uid": 7}},
        {"volume_id": "another"},
    ]),
]  # fmt: skip


def test_the_template_of_the_damaged_ones_is_a_hold(shelf):
    shelf.layout.hold("pvc-1").write_text(json.dumps(valid()))
    assert shelf.reopen().holds.get("pvc-1") is not None


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_or_future_hold_does_not_stop_the_agent_and_is_told(shelf, data):
    shelf.layout.hold("pvc-1").write_bytes(data)
    shelf.store.holds.put(hold_of(MODEL, "pvc-2"))
    shelf.reopen()
    assert [hold.volume_id for hold in shelf.store.holds.all()] == ["pvc-2"]
    assert shelf.store.holds.unreadable == {shelf.layout.hold("pvc-1").name}


def test_strange_things_among_the_holds_do_not_stop_the_agent(shelf):
    (shelf.layout.holds / "directory").mkdir()
    (shelf.layout.holds / ".hidden").mkdir()
    (shelf.layout.holds / "dangling").symlink_to("/nowhere")
    assert shelf.reopen().holds.unreadable == {"directory", ".hidden", "dangling"}


def test_a_damaged_hold_ends_with_its_volume(shelf):
    shelf.layout.hold("pvc-1").write_bytes(b"{")
    assert shelf.reopen().holds.drop("pvc-1") is None
    assert shelf.reopen().holds.unreadable == set()


def test_a_damaged_hold_is_mended_by_the_next_put(shelf):
    shelf.layout.hold("pvc-1").write_bytes(b"{")
    shelf.reopen().holds.put(hold_of(MODEL))
    assert shelf.store.holds.unreadable == set()
    assert shelf.reopen().holds.get("pvc-1") == hold_of(MODEL)


def test_what_an_unreadable_hold_may_mean_is_protected_by_its_mount(shelf):
    stage(shelf.store, MODEL)
    shelf.layout.hold("pvc-1").write_bytes(b"{")
    shelf.reopen()
    shelf.mounted.add(MODEL.digest)
    assert shelf.store.retention.evictable() == []
    assert not shelf.store.retention.evict(MODEL.digest)
    assert shelf.store.tree(MODEL.digest)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(place=st.integers(0, 600), noise=st.binary(max_size=6), cut=st.integers(0, 600))
def test_no_damage_to_a_hold_stops_the_agent(shelf, place, noise, cut):
    shelf.store.holds.put(hold_of(MODEL).with_target("/pods/1", TARGET))
    path = shelf.layout.hold("pvc-1")
    whole = path.read_bytes()
    path.write_bytes((whole[:place] + noise + whole[place + len(noise) :])[: len(whole) - cut])
    store = shelf.reopen()
    assert len(store.holds.all()) + len(store.holds.unreadable) == 1
    store.holds.drop("pvc-1")


def test_a_number_beyond_all_bounds_does_not_stop_the_store(shelf):
    shelf.store.holds.put(hold_of(MODEL))
    (path,) = shelf.layout.holds.iterdir()
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document).replace(json.dumps(document["since"]), "9" * 400))
    assert shelf.reopen().holds.unreadable == {path.name}


def test_reading_holds_waits_for_nobodys_disk(shelf, monkeypatch):
    seen = []

    def slow(path, data, **more):
        seen.append(shelf.store.holds.all())  # would wait for ever if the writer had the lock that readers want
        write_file(path, data, **more)

    monkeypatch.setattr(holds, "write_file", slow)
    shelf.store.holds.put(hold_of(MODEL))
    assert seen == [[]]
