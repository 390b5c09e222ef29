"""Which tables are measured, what is downloaded, and how a failure is told."""

from pathlib import Path

import pytest

from bench.machine import Machine, filesystem
from bench.measure import reason
from bench.report import Results, _cells
from bench.rows import Row
from bench.tables import DEFAULT, chosen
from bench.workloads import NAMES, workload


def test_without_a_choice_the_plan_is_measured():
    assert chosen(DEFAULT) == list(DEFAULT)


def test_sources_and_tls_narrow_the_plan():
    assert {(table.source, table.tls) for table in chosen(DEFAULT, sources=["nginx"], tls=True)} == {("nginx", True)}


def test_chosen_workloads_are_measured_from_every_source_with_all_tools():
    tables = chosen(DEFAULT, workloads=["shards"])
    assert len(tables) == 4
    assert not any(table.focused for table in tables)


def test_only_an_object_store_says_a_sha256():
    assert {table.source for table in chosen(DEFAULT, workloads=["sha256"])} == {"minio"}


@pytest.mark.parametrize(("name", "mib"), [("one", 2048), ("shards", 4096), ("small", 125)])
def test_workloads_have_the_sizes_that_the_readme_tells(name, mib):
    assert workload(name).size == mib * 1024 * 1024


@pytest.mark.parametrize("name", NAMES)
def test_a_quarter_of_a_workload_is_smaller_and_never_empty(name):
    assert 0 < workload(name, 0.25).size < workload(name).size


def test_a_reason_is_the_last_line_without_signatures():
    errors = "Traceback\n  File x\nConnectionError: http://h/a?X-Amz-Signature=abc refused\n"
    assert reason(errors) == "ConnectionError: http://h/a refused"


def test_the_filesystem_is_that_of_the_deepest_mount():
    mounts = "/dev/a / ext4 rw 0 0\ntmpfs /var tmpfs rw 0 0\n/dev/b /var/tmp xfs rw 0 0\n"
    assert filesystem(Path("/var/tmp/x"), mounts) == "xfs"
    assert filesystem(Path("/home"), mounts) == "ext4"


def test_a_failed_tool_stays_in_the_table():
    assert _cells(Row("one", "minio", False, "curl-1", failure="x"))[:2] == ["curl-1", "failed"]


def test_the_json_has_a_row_per_tool(machine):
    results = Results(machine, "2026-01-01", "", rows=[Row("one", "minio", False, "boto3", mb_per_s=1, rounds=1)])
    assert results.as_json()["rows"][0]["tool"] == "boto3"


@pytest.fixture
def machine():
    return Machine("cpu", 2, True, 8.0, "6.1", "ext4", "3.11")
