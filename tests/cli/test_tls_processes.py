import os
import select
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from csi_model.cli.cores import usable_cores
from csi_model.settings import TransferSettings
from tests.harness import PATIENCE

HERE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max 100000", HERE), ("100000 100000", 1), ("50000 100000", 1), ("900000000 100000", HERE), ("", HERE)],
)
def test_a_containers_limit_counts(tmp_path, limit, cores):
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert usable_cores(tmp_path / "cpu.max") == cores


def test_without_a_limit_all_that_we_may_run_on_count(tmp_path):
    assert usable_cores(tmp_path / "none") == HERE


@pytest.mark.parametrize(
    ("given", "cores", "processes"), [(None, 2, 0), (None, 7, 0), (None, 8, 2), (None, 64, 8), (3, 2, 3), (0, 64, 0)]
)
def test_processes_for_tls_by_cores(given, cores, processes):
    assert TransferSettings(tls_processes=given).tls_processes_on(cores) == processes


def children_of(pid):
    fields = {}
    for entry in (entry for entry in Path("/proc").iterdir() if entry.name.isdecimal()):
        with suppress(FileNotFoundError, ProcessLookupError):  # it just ended
            fields[entry.name] = (entry / "stat").read_text().rpartition(")")[2].split()
    return [int(child) for child, (_, parent, *_) in fields.items() if int(parent) == pid]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_driver_has_as_many_as_asked_for_and_takes_them_with_it(drive, number):
    driver = drive("--tls-processes", "2").ready()
    ends = [os.pidfd_open(child) for child in children_of(driver.process.pid)]
    assert len(ends) == 2
    driver.stop(number)
    for end in ends:
        assert select.select([end], [], [], PATIENCE)[0]
        os.close(end)


def test_a_controller_alone_reads_nothing_and_has_none(drive):
    driver = drive("--tls-processes", "2", "--mode", "controller").ready()
    assert not children_of(driver.process.pid)
    assert driver.stop() == 0
