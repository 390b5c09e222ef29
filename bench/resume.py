"""A driver that is killed when half of a model is here, and its successor, which goes on.

The successor starts and is asked at once: what kubelet's back-off would add isn't counted.
"""

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from bench.contenders import Job
from bench.contenders.driver import Driver, driver, volume_of
from bench.memory import take_memory

T = TypeVar("T")
ROUNDS = 3
_HALF = 0.5
_LOOK = 0.02  # seconds between two looks at the progress: often enough, and cheap for a busy machine


class NeverHalf(Exception):
    """The driver was done before it was seen at half."""


@dataclass(frozen=True, slots=True)
class Killed:
    """One interrupted run.

    Attributes:
        at: bytes of the model that were here when the driver was last asked before its end.
        fetched: bytes that its successor received.
        staging: seconds in NodeStage, before and after.
        start: seconds that the successor's start took.

    """

    at: int
    fetched: int
    staging: float
    start: float


def measure(job: dict[str, Any], work: Path, rounds: int = ROUNDS) -> dict[str, Any]:
    """Return medians over ``rounds`` of uninterrupted and interrupted runs, which take turns.

    ``fetched_ratio`` is what the successor fetched, by the model's size, as if the kill had come at exactly half: what
    was here beyond that at ``killed_at`` is added. ``time_ratio`` counts the successor's start as well,
    ``staging_time_ratio`` doesn't; both are by an uninterrupted run's time.

    Args:
        job: a contender's job from S3.
        work: an empty directory.
        rounds: of both.

    Raises:
        NeverHalf: the model is too small to be caught at half.

    """
    wanted = Job.of(job)
    whole: list[float] = []
    killed: list[Killed] = []
    for turn in range(rounds):
        whole.append(_in(work / f"whole-{turn}", wanted, _whole))
        killed.append(_in(work / f"killed-{turn}", wanted, _killed))
    uninterrupted = median(whole)
    return {
        "killed_at": median(run.at for run in killed) / wanted.size,
        "fetched_ratio": median(run.at + run.fetched for run in killed) / wanted.size - _HALF,
        "time_ratio": median(run.staging + run.start for run in killed) / uninterrupted,
        "staging_time_ratio": median(run.staging for run in killed) / uninterrupted,
        "start_seconds": median(run.start for run in killed),
        "uninterrupted_seconds": uninterrupted,
    }


def _in(folder: Path, job: Job, run: Callable[[Job, Path], T]) -> T:
    folder.mkdir()
    os.sync()
    take_memory(2 * job.size)
    try:
        return run(job, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _whole(job: Job, work: Path) -> float:
    with driver(job, work) as running:
        volume = volume_of(job, running.kubelet)
        began = time.monotonic()
        running.kubelet.stage(volume)
        return time.monotonic() - began


def _killed(job: Job, work: Path) -> Killed:
    with driver(job, work) as running, ThreadPoolExecutor(1) as pool:
        volume = volume_of(job, running.kubelet)
        began = time.monotonic()
        staging = pool.submit(running.kubelet.stage, volume)
        at = _half(running, staging, job.size)
        running.kill()
        before = time.monotonic() - began
        if staging.exception() is None:
            raise NeverHalf("it was done when it was killed: a larger model is needed (--scale)")
    take_memory(2 * job.size)  # as an uninterrupted run has it: what was free went back to the host meanwhile
    began = time.monotonic()
    with driver(job, work) as running:
        started = time.monotonic()
        running.kubelet.stage(volume)
        after = time.monotonic() - started
        return Killed(at, running.status()["fetched_bytes"], before + after, started - began)


def _half(running: Driver, staging: "Future[Path]", size: int) -> int:
    """Wait until half of the model is here; returns how much it was."""
    while not staging.done():
        present = sum(each["progress"]["present_bytes"] for each in running.status()["revisions"] if each["progress"])
        if present >= size * _HALF:
            return int(present)
        time.sleep(_LOOK)
    raise NeverHalf("it was done before it was seen at half: a larger model is needed (--scale)")
