"""Runs contenders: each in its own process, in rounds, in a rotated order, with the destination emptied between."""

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

from bench import children
from bench.memory import take_memory
from bench.rows import Run, rotated
from bench.servers import Server
from bench.workloads import Workload, job

ROOT = Path(__file__).resolve().parent.parent
_PATIENCE = 600.0  # seconds for one download
_LONGEST_REASON = 300
_AT_THE_END = 20.0  # seconds to tidy up


@dataclass(frozen=True, slots=True)
class Tool:
    """A contender: what rows call it, the module that runs it, the kinds of source it can read, and its environment."""

    name: str
    module: str
    kinds: frozenset[str] = frozenset({"s3", "http"})
    environment: Mapping[str, str] = field(default_factory=dict)


NULL_READER = Tool("null reader", "bench.null_reader")


class RunFailed(Exception):
    """A contender failed; the text has its last words."""


def measure(
    tools: Sequence[Tool], load: Workload, server: Server, *,
    rounds: int, work: Path, say: Callable[[str], None], after_round: Callable[[], None],
) -> dict[str, list[Run]]:  # fmt: skip
    """Let each tool download a workload ``rounds`` times; a run that fails is kept with its reason."""
    able = [tool for tool in tools if server.kind in tool.kinds]
    runs: dict[str, list[Run]] = {tool.name: [] for tool in able}
    for turn in range(rounds):
        for tool in rotated(able, turn, rounds):
            say(f"round {turn + 1} of {rounds}: {tool.name}")
            try:
                run = run_once(tool, load, server, work)
            except RunFailed as failed:
                run = Run(failure=str(failed))
                say(f"{tool.name} failed: {failed}")
            runs[tool.name].append(run)
        after_round()
    return runs


def run_once(tool: Tool, load: Workload, server: Server, work: Path) -> Run:
    """Download once into an empty directory, with nothing of it in the page cache and nothing left to write back.

    Raises:
        RunFailed: it did, or took too long.

    """
    dest = work / "dest"
    dest.mkdir()
    try:
        path = work / "job.json"
        path.write_text(json.dumps(job(load, server, dest)))
        return _contend(tool, path, server, work, load.size)
    finally:
        _put_aside(dest)
        os.sync()


def _put_aside(dest: Path) -> None:
    """Give a download's room back and keep its inodes, to the end of the benchmark.

    ext4 passes over inodes that were deleted within the last five minutes, one by one, whenever it makes a file: with
    2,000 files a run the next ones paid up to three times their own work for that.
    """
    for directory, _, names in os.walk(dest):
        os.chmod(directory, 0o700)  # noqa: PTH101 - os.walk gives plain strings
        for file in (Path(directory) / name for name in names):
            if file.is_file() and not file.is_symlink():
                file.chmod(0o600)
                os.truncate(file, 0)
    dest.rename(dest.with_name(f"emptied-{token_hex(4)}"))


def _contend(tool: Tool, job_path: Path, server: Server, work: Path, size: int) -> Run:
    log = work / "contender.log"
    log.write_text("")
    environment = children.clean_environment(TMPDIR=str(work), **tool.environment)
    command: list[str | Path] = [sys.executable, "-m", tool.module, job_path]
    with children.child(command, log=log, environment=environment, cwd=ROOT) as process:
        deadline = time.monotonic() + _PATIENCE
        if _line(process, deadline) != "ready":
            raise RunFailed(reason(log.read_text()))
        os.sync()
        take_memory(2 * size)
        before = server.cpu_seconds()
        _stdin(process).write("go\n")
        _stdin(process).flush()
        said = _line(process, deadline)
        used = server.cpu_seconds() - before
        try:
            code = process.wait(_AT_THE_END if said else _PATIENCE)
        except subprocess.TimeoutExpired:
            code = None
        if not said or code != 0:
            raise RunFailed(reason(log.read_text()) if code is not None else "it didn't end")
    return _run_of(json.loads(said), used)


def reason(errors: str) -> str:
    """Return the last line of a standard error without URLs' queries, which are signatures."""
    last = errors.strip().splitlines()[-1:] or ["it said nothing"]
    return re.sub(r"\?[^\s\"')]+", "", last[0])[:_LONGEST_REASON]


def _line(process: "subprocess.Popen[str]", deadline: float) -> str:
    """Read one line, or nothing if none comes in time or the process ends."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
    if not ready:
        raise RunFailed(f"nothing came within {_PATIENCE:.0f} s")
    return process.stdout.readline().strip()


def _stdin(process: "subprocess.Popen[str]") -> Any:
    return process.stdin


def _run_of(said: Mapping[str, Any], server_cpu: float) -> Run:
    return Run(
        seconds=said["seconds"],
        cpu_seconds=said["cpu_seconds"],
        server_cpu_seconds=server_cpu,
        peak_rss_mib=said["peak_rss_mib"],
        durable=said["durable"],
        verified=said["verified"],
        note=said["note"],
    )
