import fcntl
import hashlib
import logging
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csi_model.core.placement import Wants
from csi_model.errors import StoreUnusable
from csi_model.volumes import file_registry
from csi_model.volumes.file_registry import FileRegistry
from tests.contracts.registry_contract import RegistryContract, record
from tests.fakes.registry import MemoryRegistry


class TestMemoryRegistry(RegistryContract):
    @pytest.fixture
    def registry(self) -> MemoryRegistry:
        return MemoryRegistry()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "volumes"


@pytest.fixture
def registry(root: Path) -> FileRegistry:
    return FileRegistry(root)


def file_of(root: Path, volume_id: str = "m-1") -> Path:
    return root / f"{hashlib.sha256(volume_id.encode()).hexdigest()}.volume"


class TestFileRegistry(RegistryContract):
    @pytest.fixture
    def registry(self, registry: FileRegistry) -> FileRegistry:
        return registry

    def test_another_process_sees_the_record(self, registry: FileRegistry, root: Path):
        registry.put(record())
        assert FileRegistry(root).get("m-1") == record()

    def test_only_the_owner_may_read_it(self, registry: FileRegistry, root: Path):
        registry.put(record())
        assert stat.S_IMODE(root.stat().st_mode) == 0o700
        assert stat.S_IMODE(file_of(root).stat().st_mode) == 0o600

    def test_nothing_but_the_record_is_left(self, registry: FileRegistry, root: Path):
        registry.put(record())
        assert list(root.iterdir()) == [file_of(root)]

    def test_a_change_is_seen_by_another_process_and_leaves_nothing_else(self, registry: FileRegistry, root: Path):
        registry.put(record())
        FileRegistry(root).modify("m-1", Wants(7))
        assert registry.get("m-1") == record(wants=Wants(7))
        assert list(root.iterdir()) == [file_of(root)]
        assert stat.S_IMODE(file_of(root).stat().st_mode) == 0o600

    def test_a_record_that_is_deleted_while_it_is_changed_stays_deleted(
        self, registry: FileRegistry, root: Path, monkeypatch
    ):
        """The deleting begins when the change has read the record, and waits until that has written it."""
        registry.put(record())
        waiting, write, lock = threading.Event(), file_registry.write_all, fcntl.flock
        with ThreadPoolExecutor() as pool:
            deletions, writing = [], threading.Event()

            def write_late(descriptor: int, data: bytes) -> None:
                writing.set()
                deletions.append(pool.submit(FileRegistry(root).delete, "m-1"))
                assert waiting.wait(30)
                write(descriptor, data)

            def lock_and_tell(descriptor: int, operation: int) -> None:
                if writing.is_set():
                    waiting.set()
                lock(descriptor, operation)

            monkeypatch.setattr(file_registry, "write_all", write_late)
            monkeypatch.setattr(fcntl, "flock", lock_and_tell)
            registry.modify("m-1", Wants(7))
            deletions[0].result(30)
        assert registry.get("m-1") is None

    def test_a_missing_parent_is_named(self, tmp_path: Path):
        with pytest.raises(StoreUnusable, match=r"none.*ENOENT"):
            FileRegistry(tmp_path / "none" / "volumes")

    def test_a_lost_directory_is_not_an_empty_one(self, registry: FileRegistry, root: Path):
        root.rmdir()
        with pytest.raises(StoreUnusable):
            registry.ids()
        with pytest.raises(StoreUnusable):
            registry.put(record())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_torn_or_changed_record_is_never_taken_for_absent_or_sound(registry: FileRegistry, root: Path, data):
    if not file_of(root).exists():
        registry.put(record())
        (root / "whole").write_bytes(file_of(root).read_bytes())
    whole = (root / "whole").read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    tail = data.draw(st.sampled_from([b"", whole[cut + 1 :], b"\0" + whole[cut + 1 :], whole[cut:] + b"x"]))
    file_of(root).write_bytes(whole[:cut] + tail)
    if whole[:cut] + tail != whole:
        with pytest.raises(StoreUnusable, match="m-1"):
            registry.get("m-1")


def test_the_record_of_another_volume_is_not_believed(registry: FileRegistry, root: Path):
    registry.put(record())
    file_of(root).rename(file_of(root, "m-2"))
    with pytest.raises(StoreUnusable, match="m-1"):
        registry.get("m-2")


def test_a_damaged_record_is_left_out_of_the_ids_and_logged(registry: FileRegistry, root: Path, caplog):
    registry.put(record("m-2"))
    for number, junk in enumerate([b"", b"{", b"[]\n", b'{"volume_id": 7}\n', b'{"volume_id": "m-9"}\n', b"\xff\n"]):
        (root / f"{number}.volume").write_bytes(junk)
    (root / "d.volume").mkdir()
    with caplog.at_level(logging.WARNING):
        assert list(registry.ids()) == ["m-2"]
    assert len(caplog.records) == 7


def test_ids_are_read_from_disk_once(registry: FileRegistry, root: Path):
    registry.put(record())
    registry.ids()
    file_of(root).chmod(0)
    file_of(root).write_bytes(b"") if os.geteuid() == 0 else None
    assert list(registry.ids()) == ["m-1"]


class Died(BaseException):
    """The process ends here."""


STEPS = ["open", "write_all", "fsync", "close", "link", "rename", "unlink", "fsync_directory"]


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, step: str, moment: str) -> Iterator[None]:
    """Let the process die before or after a step; nothing it would do later happens, and the kernel closes its files."""
    dead = False

    def deadly(name: str, call):
        def run(*args, **kwargs):
            nonlocal dead
            ends = name == step and not dead
            if name == "close" or not (dead or (ends and moment == "before")):
                result = call(*args, **kwargs)
            dead = dead or ends
            if dead:
                raise Died
            return result

        return run

    with monkeypatch.context() as patch:
        for name in ("open", "fsync", "close", "link"):
            patch.setattr(file_registry.os, name, deadly(name, getattr(os, name)))
        for name in ("write_all", "fsync_directory"):
            patch.setattr(file_registry, name, deadly(name, getattr(file_registry, name)))
        for name in ("rename", "unlink"):
            patch.setattr(Path, name, deadly(name, getattr(Path, name)))
        with pytest.raises(Died):
            yield


def happened(step: str, moment: str, what: str) -> bool:
    return STEPS.index(step) > STEPS.index(what) or (step, moment) == (what, "after")


@pytest.mark.parametrize("step", [step for step in STEPS if step != "rename"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_death_at_any_step_leaves_all_or_nothing(root: Path, registry: FileRegistry, monkeypatch, step, moment):
    with dying(monkeypatch, step, moment):
        registry.put(record())
    again = FileRegistry(root)
    visible = happened(step, moment, "link")
    assert again.get("m-1") == (record() if visible else None)
    assert list(again.ids()) == (["m-1"] if visible else [])
    if not visible:
        again.put(record())
    again.delete("m-1")
    assert again.get("m-1") is None


@pytest.mark.parametrize("step", [step for step in STEPS if step != "link"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_death_while_changing_leaves_the_old_or_the_new(
    root: Path, registry: FileRegistry, monkeypatch, step, moment
):
    registry.put(record())
    with dying(monkeypatch, step, moment):
        registry.modify("m-1", Wants(7))
    again = FileRegistry(root)
    assert again.get("m-1") == record(wants=Wants(7) if happened(step, moment, "rename") else None)
    again.modify("m-1", Wants(8))
    assert again.get("m-1") == record(wants=Wants(8))


def test_what_a_dead_writer_left_is_removed_when_it_is_old(root: Path, registry: FileRegistry):
    old, fresh = root / ".a.new", root / ".b.new"
    for path in (old, fresh):
        path.touch()
    os.utime(old, (0, 0))
    FileRegistry(root)
    assert list(root.iterdir()) == [fresh]
    assert list(registry.ids()) == []


def test_a_disk_error_is_a_store_error(registry: FileRegistry, root: Path, monkeypatch):
    def full(descriptor: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file_registry, "write_all", full)
    with pytest.raises(StoreUnusable, match=r"m-1.*ENOSPC"):
        registry.put(record())
    assert list(root.iterdir()) == []
