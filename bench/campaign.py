"""One run of the benchmark: for each workload its files, servers and tables, and what else is measured with it."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from bench import bound, measure, servers, workloads
from bench.measure import NULL_READER, Tool
from bench.report import Results
from bench.rows import OURS, fastest_others, row_of, with_ratios
from bench.servers import Authority, Server
from bench.tables import Table
from bench.workloads import Workload

Section = Callable[[dict[str, Any], Path], Any]
"""A measurement beside the tables: gets a job for a workload from MinIO and a scratch directory."""

SECTION_ON = {"pod": "model", "resume": "shards", "warm": "model"}
"""The workload, from MinIO, with which each of them is measured: a crash costs some 100 MB whatever the model's size,
so it wants a large one."""
_BASELINE = "boto3"
_FASTEST = 2
_NO_SHA_NI = {"OPENSSL_ia32cap": ":~0x20000000"}  # OPENSSL_ia32cap(3): bit 29 of the third word
_DISK_BYTES = 2**30  # written to measure the disk
_MASKED = " (no SHA-NI)"
_ROOM = 2.5  # times a workload's size, beside its two copies: what tools leave while they work, and the disk's measure


class NoRoom(Exception):
    """The disk is too small for the workload."""


@dataclass(slots=True)
class Campaign:
    """What to measure and with what; ``run`` fills the results."""

    tools: Sequence[Tool]
    tables: Sequence[Table]
    sections: dict[str, Section]
    rounds: int
    scale: float
    work: Path
    results: Results
    authority: Authority = field(init=False)

    def run(self) -> None:
        """Measure everything; each table is in the results as soon as it is known."""
        folder = self.work / "authority"
        folder.mkdir()
        self.authority = Authority.made_in(folder)
        self.results.hash_costs = bound.hash_costs()
        for name, tables in groupby(self.tables, key=lambda table: table.workload):
            load = workloads.workload(name, self.scale)
            with self._files_of(load) as folder:
                self._measure(load, list(tables), folder)

    def _measure(self, load: Workload, tables: Sequence[Table], folder: Path) -> None:
        checksum = ""
        data = self.work / "minio"
        if any(table.source == "minio" for table in tables):
            with servers.minio(data, None, self.work) as server:
                say(f"putting {load.name} into MinIO ({load.size / 1e6:.0f} MB)")
                checksum = workloads.upload(load, folder, server)
        os.sync()
        for table in tables:
            with self._serving(table, folder, data) as server:
                self._table(table, load, server, checksum if server.kind == "s3" else "")
                if server.kind == "s3" and not table.tls:
                    self._run_sections(load, server)

    @contextmanager
    def _serving(self, table: Table, folder: Path, data: Path) -> Iterator[Server]:
        authority = self.authority if table.tls else None
        if table.source == "minio":
            with servers.minio(data, authority, self.work) as server:
                yield server
        else:
            with servers.nginx(folder, authority, self.work) as server:
                yield server

    def _table(self, table: Table, load: Workload, server: Server, checksum: str) -> None:
        where = f"{load.name}, {table.source}{' over TLS' if table.tls else ''}"
        disks = [self._disk()]
        runs = measure.measure(
            [NULL_READER, *self._tools_of(table, load)], load, server, rounds=self.rounds, work=self.work,
            say=lambda text: say(f"{where}: {text}"), after_round=lambda: disks.append(self._disk()),
        )  # fmt: skip
        self.results.disks += disks
        reader, *rows = [
            row_of(load.name, table.source, name, found, load.size, tls=table.tls) for name, found in runs.items()
        ]
        hashes = ["blake3", *([checksum] if checksum else [])]
        limits = bound.bound_of(reader, disks, self.results.hash_costs, hashes, self.results.machine.cores)
        self.results.bounds += [limits] if limits else []
        self.results.rows += with_ratios(rows, limits.mb_per_s if limits else None)

    def _tools_of(self, table: Table, load: Workload) -> list[Tool]:
        tools = list(self.tools)
        first = [row for row in self.results.rows if (row.workload, row.source, row.tls) == self._first_table()]
        best = fastest_others(first, _FASTEST)
        if table.focused and best:
            tools = [tool for tool in tools if tool.name in {*OURS, _BASELINE, *best}]
        if load.sha256:
            ours = [tool for tool in tools if tool.name in OURS]
            tools += [
                Tool(tool.name + _MASKED, tool.module, tool.kinds, {**tool.environment, **_NO_SHA_NI}) for tool in ours
            ]
        return tools

    def _first_table(self) -> tuple[str, str, bool]:
        """Return the table that says which tools are the fastest."""
        row = self.results.rows[0] if self.results.rows else None
        return (row.workload, row.source, row.tls) if row else ("", "", False)

    def _disk(self) -> bound.Disk:
        os.sync()
        return bound.disk_speed(self.work, round(_DISK_BYTES * min(1.0, self.scale * 2)))

    def _run_sections(self, load: Workload, server: Server) -> None:
        for name, section in self.sections.items():
            if SECTION_ON[name] != load.name:
                continue
            say(f"{name}")
            scratch = self.work / name
            scratch.mkdir()
            try:
                self.results.sections[name] = section(workloads.job(load, server, scratch / "dest"), scratch)
            except Exception as error:  # noqa: BLE001 - what else was measured must not be lost
                say(f"{name} failed: {error}")
                self.results.sections[name] = {"failure": f"{type(error).__name__}: {error}"}
            shutil.rmtree(scratch, ignore_errors=True)

    @contextmanager
    def _files_of(self, load: Workload) -> Iterator[Path]:
        free = shutil.disk_usage(self.work).free
        if free < load.size * (2 + _ROOM):
            needed = load.size * (2 + _ROOM) / 1e9
            raise NoRoom(f"{self.work} has {free / 1e9:.0f} GB left, {load.name} needs {needed:.0f}: --work, --scale")
        folder = self.work / "files"
        say(f"making the files of {load.name}")
        workloads.write_files(load, folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
            shutil.rmtree(self.work / "minio", ignore_errors=True)


def say(text: str) -> None:
    """Tell whoever waits what goes on."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
