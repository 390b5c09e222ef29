"""Room in memory, read from a /proc and a /sys that the tests make up."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.store.memory import Memory, room

GIB = 2**30
RESERVE = GIB // 2
V2_STAT = {"anon": 0, "active_file": 0, "inactive_file": 0, "file_mapped": 0}


class Machine:
    """10 GiB of memory, 4 of them free, 2 inactive file pages; no cgroup limits."""

    def __init__(self, root: Path):
        self.proc, self.groups = root / "proc", root / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        self.groups.mkdir()
        self.now = 0.0
        self.has()

    def has(self, *, free=4 * GIB, active=0, inactive=2 * GIB, mapped=0, total=10 * GIB):
        sizes = {
            "MemTotal": total,
            "MemFree": free,
            "MemAvailable": total,
            "Active(file)": active,
            "Inactive(file)": inactive,
            "Mapped": mapped,
        }
        lines = [f"{name}: {size // 1024} kB\n" for name, size in sizes.items()]
        (self.proc / "meminfo").write_text("".join([*lines, "HugePages_Total: 0\n"]))

    def is_in(self, line):
        (self.proc / "self/cgroup").write_text(f"{line}\n")

    def group(self, path, *, stat=None, **files):
        directory = self.groups / path
        directory.mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (directory / name.replace("_", ".", 1)).write_text(f"{value}\n")
        lines = [f"{name} {value}\n" for name, value in (V2_STAT | (stat or {})).items()]
        (directory / "memory.stat").write_text("".join(lines))

    def room(self, **how):
        return Memory(self.proc, self.groups, clock=lambda: self.now).room(**how)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_free_and_inactive_pages_are_room_less_a_reserve(machine):
    assert machine.room() == 6 * GIB - RESERVE


def test_active_pages_of_running_workloads_are_none(machine):
    machine.has(free=GIB, active=8 * GIB, inactive=0)
    assert machine.room() == GIB - RESERVE


def test_mapped_pages_on_the_inactive_list_are_none(machine):
    machine.has(active=GIB, inactive=5 * GIB, mapped=4 * GIB)
    assert machine.room() == 6 * GIB - RESERVE


def test_a_large_machine_has_a_larger_reserve(machine):
    machine.has(total=100 * GIB, free=50 * GIB, inactive=0)
    assert machine.room() == 45 * GIB


def test_a_full_machine_has_no_room(machine):
    machine.has(free=RESERVE // 2, inactive=0)
    assert machine.room() == 0


def test_what_was_kept_is_not_room_again(machine):
    machine.has(free=GIB, inactive=5 * GIB)  # of which 4 are ours
    assert machine.room(kept=4 * GIB) == 2 * GIB - RESERVE


def test_what_was_kept_and_has_turned_active_is_not_counted_twice(machine):
    machine.has(free=2 * GIB, active=4 * GIB, inactive=0)
    assert machine.room(kept=4 * GIB) == 2 * GIB - RESERVE


def test_a_cgroups_limit_bounds_the_room(machine):
    machine.is_in("0::/pod")
    machine.group("pod", memory_max=3 * GIB, memory_high="max", memory_current=GIB)
    assert machine.room() == 2 * GIB - RESERVE


def test_a_cgroups_inactive_pages_are_room(machine):
    machine.is_in("0::/pod")
    machine.group("pod", memory_max=3 * GIB, memory_current=3 * GIB, stat={"inactive_file": 2 * GIB})
    assert machine.room() == 2 * GIB - RESERVE
    assert machine.room(kept=GIB) == GIB - RESERVE


def test_the_high_mark_bounds_it_too(machine):
    machine.is_in("0::/pod")
    machine.group("pod", memory_max=4 * GIB, memory_high=2 * GIB, memory_current=0)
    assert machine.room() == 2 * GIB - RESERVE


def test_the_tightest_of_all_groups_above_counts(machine):
    machine.is_in("0::/kubepods/burstable/pod")
    machine.group("kubepods", memory_max=2 * GIB, memory_current=0)
    machine.group("kubepods/burstable", memory_max=5 * GIB, memory_current=0)
    machine.group("kubepods/burstable/pod", memory_max="max", memory_current=0)
    assert machine.room() == 2 * GIB - RESERVE


@pytest.mark.parametrize("path", ["/", "/kubepods/burstable/pod", "/../../elsewhere"])
def test_a_container_sees_its_own_group_at_the_top(machine, path):
    machine.is_in(f"0::{path}")
    machine.group(".", memory_max=2 * GIB, memory_current=0)
    machine.group("..", memory_max=GIB, memory_current=0)  # no group at all
    assert machine.room() == 2 * GIB - RESERVE


def test_version_1_is_bounded_likewise(machine):
    machine.is_in("4:cpu,memory:/docker/1")
    stat = {"total_active_file": 0, "total_inactive_file": GIB, "total_mapped_file": 0}
    machine.group("memory", memory_limit_in_bytes=9223372036854771712, memory_usage_in_bytes=0, stat=stat)
    machine.group("memory/docker/1", memory_limit_in_bytes=3 * GIB, memory_usage_in_bytes=2 * GIB, stat=stat)
    assert machine.room() == 2 * GIB - RESERVE


def test_unreadable_memory_has_no_room(machine):
    (machine.proc / "meminfo").unlink()
    assert machine.room() == 0


def test_a_group_with_a_limit_and_no_usage_counts_as_full(machine):
    machine.is_in("0::/pod")
    machine.group("pod", memory_max=3 * GIB)
    assert machine.room() == 0


def test_it_looks_again_after_a_tenth_of_a_second(machine):
    memory = Memory(machine.proc, machine.groups, clock=lambda: machine.now)
    before = memory.room()
    machine.has(free=0, inactive=0)
    assert memory.room() == before
    machine.now = 0.1
    assert memory.room() == 0


def test_this_machine_has_a_number(machine):
    assert 0 <= room(kept=GIB) <= room()


@given(meminfo=st.binary(max_size=200), group=st.binary(max_size=60), limit=st.binary(max_size=20))
def test_garbage_never_raises(tmp_path_factory, meminfo, group, limit):
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.group("pod", memory_current=0)
    machine.is_in("0::/pod")
    (machine.groups / "pod/memory.max").write_bytes(limit)
    assert machine.room() >= 0
    (machine.proc / "self/cgroup").write_bytes(group)
    (machine.proc / "meminfo").write_bytes(meminfo)
    assert machine.room() >= 0
