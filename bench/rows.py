"""The benchmark's figures: medians of runs and the ratios between tools. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeVar

T = TypeVar("T")
MB = 1_000_000
GIB = 1024**3
OURS = ("csi-model", "csi-model-engine", "csi-model-ahead")
"""Our tools: NodeStage, the engine alone as NodeStage uses it, and as warm-ups that nobody waits for do. A name may go
on in parentheses for a variant."""


@dataclass(frozen=True, slots=True)
class Run:
    """One download: wall seconds, processor seconds of client and server, peak memory; or why there was none."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    server_cpu_seconds: float = 0.0
    peak_rss_mib: float = 0.0
    durable: bool = False
    verified: str = "none"
    note: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """What one tool did with one workload from one source: medians over rounds. Rates are MB/s (10**6 bytes)."""

    workload: str
    source: str
    tls: bool
    tool: str
    mb_per_s: float = 0.0
    mb_per_s_min: float = 0.0
    mb_per_s_max: float = 0.0
    seconds: float = 0.0
    cpu_s_per_gib: float = 0.0
    server_cpu_s_per_gib: float = 0.0
    peak_rss_mib: float = 0.0
    durable: bool = False
    verified: str = "none"
    ratio_to_best_other: float | None = None
    ratio_to_bound: float | None = None
    rounds: int = 0
    note: str = ""
    failure: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is one of our tools."""
        return self.tool.partition(" (")[0] in OURS

    @property
    def variant(self) -> bool:
        """Whether the machine was changed for it, so that it competes with nobody."""
        return " (" in self.tool


def row_of(workload: str, source: str, tool: str, runs: Sequence[Run], size: int, *, tls: bool) -> Row:
    """Sum up runs over ``size`` bytes; failed ones are told of in ``failure`` and count for nothing else."""
    failures = [run.failure for run in runs if run.failure]
    failure = f"{len(failures)} of {len(runs)} failed: {failures[0]}" if failures else ""
    good = [run for run in runs if not run.failure]
    row = Row(workload, source, tls, tool, rounds=len(good), failure=failure)
    if not good:
        return row
    rates = [size / run.seconds / MB for run in good]
    return replace(
        row,
        mb_per_s=median(rates),
        mb_per_s_min=min(rates),
        mb_per_s_max=max(rates),
        seconds=median(run.seconds for run in good),
        cpu_s_per_gib=median(run.cpu_seconds for run in good) * GIB / size,
        server_cpu_s_per_gib=median(run.server_cpu_seconds for run in good) * GIB / size,
        peak_rss_mib=max(run.peak_rss_mib for run in good),
        durable=all(run.durable for run in good),
        verified=good[0].verified,
        note=good[0].note,
    )


def best_other(rows: Iterable[Row]) -> Row | None:
    """Return the fastest tool that isn't ours and writes to disk."""
    return max(
        (row for row in rows if row.durable and row.rounds and not row.ours), key=lambda row: row.mb_per_s, default=None
    )


def fastest_others(rows: Iterable[Row], count: int) -> list[str]:
    """Return the names of the fastest tools of one table that aren't ours and write to disk, fastest first."""
    others = [row for row in rows if row.durable and row.rounds and not row.ours]
    return [row.tool for row in sorted(others, key=lambda row: -row.mb_per_s)[:count]]


def with_ratios(rows: Sequence[Row], bound: float | None) -> list[Row]:
    """Add the ratios to the rows of one table (one workload, source, and TLS or not).

    Args:
        rows: one per tool.
        bound: MB/s that this machine allows, or None.

    """
    best = best_other(rows)
    return [
        replace(
            row,
            ratio_to_best_other=row.mb_per_s / best.mb_per_s if best and row.durable else None,
            ratio_to_bound=row.mb_per_s / bound if bound and not row.variant else None,
        )
        if row.rounds
        else row
        for row in rows
    ]


def rotated(items: Sequence[T], turn: int, turns: int) -> list[T]:
    """Return the order of turn ``turn`` of ``turns``: each item stands early, in the middle and late once."""
    shift = turn * max(1, len(items) // turns) % len(items) if items else 0
    return [*items[shift:], *items[:shift]]
