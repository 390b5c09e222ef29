"""The bound's arithmetic from literal measurements."""

from dataclasses import replace

import pytest

from bench.bound import Disk, bound_of
from bench.rows import GIB, MB, Row

READER = Row(
    "one", "minio", False, "null reader", mb_per_s=2000, cpu_s_per_gib=0.5, server_cpu_s_per_gib=1.0, rounds=3
)  # fmt: skip
DISKS = [Disk(rate, 0.1, "O_DIRECT") for rate in (400, 3000, 2500)]
COSTS = {"blake3": 0.3, "crc32": 0.1}


def test_the_cores_share_what_server_reader_hashes_and_disk_cost():
    bound = bound_of(READER, DISKS, COSTS, ["blake3", "crc32"], 2)
    assert bound.cores_mb_per_s == pytest.approx(2 / 2.0 * GIB / MB)
    assert (bound.mb_per_s, bound.limited_by) == (bound.cores_mb_per_s, "cores")


def test_the_disk_counts_with_its_median():
    bound = bound_of(READER, DISKS, COSTS, ["blake3"], 64)
    assert bound.disk_mb_per_s == 2500


def test_the_slowest_of_the_three_is_the_bound():
    bound = bound_of(replace(READER, mb_per_s=100), DISKS, COSTS, ["blake3"], 2)
    assert (bound.mb_per_s, bound.limited_by) == (100, "link")


def test_a_hash_that_the_source_does_not_ask_for_costs_nothing():
    assert bound_of(READER, DISKS, COSTS, ["blake3"], 2).hash_cost == 0.3


def test_without_a_null_reader_there_is_no_bound():
    assert bound_of(replace(READER, rounds=0), DISKS, COSTS, ["blake3"], 2) is None
