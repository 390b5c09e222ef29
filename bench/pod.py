"""What the pod sees: seconds until a whole model has been read once through mmap, file by file, as loaders read.

Downloads are taken as people use them, without waiting for the disk. Nothing lies between a model's arrival and its
reading: a real pod takes some seconds to start, in which read-ahead and write-back go on, so these are worst cases.

``python -m bench.pod JOB.json WORK ROUNDS`` measures in a mount namespace of its own and prints JSON.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench.contenders import REGISTRY, Job
from bench.contenders.driver import Driver, driver, volume_of
from bench.memory import files_below, forget_files, part_in_memory, read_all, take_memory
from bench.mounted import mounted
from bench.rows import rotated
from csi_model.demo.kubelet import Volume
from csi_model.node import namespace

ROUNDS = 3
_ROOT = Path(__file__).resolve().parent.parent
_OURS = ("csi-model", "csi-model-engine", "csi-model-ahead")
_PATIENCE = 600.0  # seconds for one way


@dataclass(frozen=True, slots=True)
class Seen:
    """One cold start: seconds until the files can be opened, seconds to read them all, and what was in memory then."""

    there: float
    read: float
    page_cache: str


@dataclass(frozen=True, slots=True)
class Way:
    """A way for a model to reach a pod: its name, its kind for the targets, and how it goes in an empty directory."""

    how: str
    kind: str
    go: Callable[[Job, Path], Seen]


class Failed(Exception):
    """A way didn't lead to a model; the text says why."""


def measure(job: dict[str, Any], work: Path, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Measure all ways; returns a row for each: seconds, read_seconds and page_cache, or failure.

    Args:
        job: a contender's job from S3.
        work: an empty directory.
        rounds: of all ways; figures are medians.

    Raises:
        Failed: nothing could be measured.

    """
    rows: list[dict[str, Any]] = in_namespace("bench.pod", job, work, str(rounds))
    return rows


def in_namespace(module: str, job: Mapping[str, Any], work: Path, *more: str) -> Any:
    """Run ``python -m MODULE JOB.json WORK MORE``, since only a process without threads can enter a namespace.

    Returns:
        The JSON that it printed.

    Raises:
        Failed: it failed; the text has its last words.

    """
    path = work / "job.json"
    path.write_text(json.dumps(job))
    command = [sys.executable, "-m", module, str(path), str(work), *more]
    return json.loads(_said(subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)))


def _said(done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode:
        raise Failed(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it said nothing")
    return done.stdout


def all_ways() -> list[Way]:
    """Return the ways that can be tried here."""
    tools = [
        Way(f"{name}, then read", "tool", _downloading(entry["module"]))
        for name, entry in REGISTRY.items()
        if name not in _OURS and "s3" in entry["kinds"] and not entry["available"]()
    ]
    return [
        Way("csi-model, pod waits", "waiting", _waiting),
        *tools,
        Way("rclone mount, cached on disk", "mount", lambda job, work: _mount(job, work, "full")),
        Way("rclone mount, not cached", "mount", lambda job, work: _mount(job, work, "off")),
        Way("csi-model, staged before, not in memory", "staged-cold", lambda job, work: _staged(job, work, "never")),
        Way(
            "csi-model, staged before, not in memory, read ahead", "staged-cold-read-ahead",
            lambda job, work: _staged(job, work, "auto"),
        ),
        Way("csi-model, staged before, in memory", "staged-warm", _warm),
    ]  # fmt: skip


def _rows(job: Job, work: Path, rounds: int) -> list[dict[str, Any]]:
    ways = all_ways()
    found: dict[str, list[Seen | str]] = {way.how: [] for way in ways}
    for turn in range(rounds):
        for way in rotated(ways, turn, rounds):
            found[way.how].append(_try(way, job, work))
    return [_row(way, found[way.how]) for way in ways]


def _try(way: Way, job: Job, work: Path) -> Seen | str:
    folder = work / "way"
    folder.mkdir()
    try:
        os.sync()
        take_memory(2 * job.size)
        return way.go(job, folder)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one way, the others are measured
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder)
        os.sync()


def _row(way: Way, seen: Sequence[Seen | str]) -> dict[str, Any]:
    good = [each for each in seen if isinstance(each, Seen)]
    failures = [each for each in seen if isinstance(each, str)]
    row: dict[str, Any] = {"how": way.how, "rounds": len(good), "failure": failures[0] if failures else ""}
    if not good:
        return {**row, "seconds": None, "read_seconds": None}
    middle = sorted(good, key=lambda each: each.there + each.read)[len(good) // 2]
    totals = [each.there + each.read for each in good]
    return {
        **row, "kind": way.kind, "seconds": median(totals), "read_seconds": middle.read,
        "seconds_min": min(totals), "seconds_max": max(totals), "page_cache": middle.page_cache,
    }  # fmt: skip


def _read(there: float, folder: Path, size: int) -> Seen:
    state = _state(folder)
    began = time.monotonic()
    found = read_all(folder)
    seconds = time.monotonic() - began
    if found != size:
        raise Failed(f"{found} bytes can be read instead of {size}")
    return Seen(there, seconds, state)


def _state(folder: Path) -> str:
    return f"{part_in_memory(files_below(folder)):.0%} in memory"


def _downloading(module: str) -> Callable[[Job, Path], Seen]:
    def go(job: Job, work: Path) -> Seen:
        dest, path = work / "dest", work / "job.json"
        dest.mkdir()
        path.write_text(json.dumps(asdict(replace(job, dest=dest, durable=False)), default=str))
        command = [sys.executable, "-m", module, str(path)]
        done = subprocess.run(
            command, cwd=_ROOT, input="go\n", capture_output=True, text=True, check=False, timeout=_PATIENCE,
            env={**os.environ, "TMPDIR": str(work)},
        )  # fmt: skip
        seconds = float(json.loads(_said(done).splitlines()[-1])["seconds"])
        if not any(dest.iterdir()):  # a tool that fills memory and no files has been read already
            return Seen(seconds, 0.0, "in the tool's memory")
        return _read(seconds, dest, job.size)

    return go


def _mount(job: Job, work: Path, mode: str) -> Seen:
    began = time.monotonic()
    with mounted(job, work, mode) as folder:
        seen = _read(time.monotonic() - began, folder, job.size)
    return replace(seen, page_cache="nothing read before")


@contextmanager
def _prepared(job: Job, work: Path, *options: str) -> Iterator[tuple[Driver, Volume]]:
    """Run a driver with a volume of the model; unpublished and unstaged at the end."""
    with driver(job, work, *options) as running:
        volume = volume_of(job, running.kubelet)
        try:
            yield running, volume
        finally:
            with suppress(FileNotFoundError):  # it failed before there was anything to take away
                running.kubelet.unpublish(volume, "pod")
                running.kubelet.unstage(volume)


def _start_pod(running: Driver, volume: Volume, size: int) -> Seen:
    began = time.monotonic()
    running.kubelet.stage(volume)
    folder = running.kubelet.publish(volume, "pod")
    return _read(time.monotonic() - began, folder, size)


def _waiting(job: Job, work: Path) -> Seen:
    with _prepared(job, work) as (running, volume):
        return _start_pod(running, volume, job.size)


def _staged(job: Job, work: Path, page_cache: str) -> Seen:
    with _prepared(job, work, "--page-cache", page_cache) as (running, volume):
        running.kubelet.stage(volume)
        running.kubelet.unstage(volume)
        os.sync()
        forget_files(files_below(running.tree() / "root"))
        state = _state(running.tree() / "root")
        return replace(_start_pod(running, volume, job.size), page_cache=f"{state} when the pod came")


def _warm(job: Job, work: Path) -> Seen:
    with _prepared(job, work) as (running, volume):
        running.kubelet.stage(volume)
        running.kubelet.unstage(volume)
        read_all(running.tree() / "root")
        return _start_pod(running, volume, job.size)


def main() -> None:
    namespace.enter()
    print(json.dumps(_rows(Job.read(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3]))))


if __name__ == "__main__":
    main()
