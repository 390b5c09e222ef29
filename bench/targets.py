"""What the driver must reach, and whether this run did: computed from the rows alone. No I/O."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.rows import Row

_LARGE = ("one", "shards", "model")
_BY_NODE_STAGE, _ENGINE, _AHEAD, _BOTO3 = "csi-model", "csi-model-engine", "csi-model-ahead", "boto3"
_POD_KINDS = ("waiting", "tool", "staged-cold", "staged-cold-read-ahead")
"""How the pod section's rows are told apart: our waiting pod, other tools, staged without and with read-ahead."""
Figure = tuple[float, str]
"""A value, and where it was found."""


@dataclass(frozen=True, slots=True)
class Target:
    """A target: what it says, the worst figure that was measured, where, and whether it is met (None: not measured)."""

    text: str
    figure: float | None
    where: str
    met: bool | None


def targets(rows: Sequence[Row], sections: Mapping[str, Any]) -> list[Target]:
    """Judge a run.

    Args:
        rows: of all tables.
        sections: ``pod``, ``resume`` and ``warm`` as those modules return them; what is missing isn't judged.

    """
    ours = [row for row in rows if row.ours and row.rounds and not row.variant]
    waiting = [row for row in ours if row.tool != _AHEAD]
    return [
        *_of_sections(sections),
        *_of_tables(waiting, rows, "for a waiting pod, kept in memory"),
        *_of_tables([row for row in ours if row.tool == _AHEAD], rows, "ahead of any pod, past the page cache"),
        at_most(200, "MiB of memory at the peak", ((row.peak_rss_mib, _place(row)) for row in ours)),
        at_most(
            1.05,
            "x the engine's seconds for NodeStage",
            _against(
                [row for row in waiting if row.tool == _BY_NODE_STAGE and row.workload in _LARGE and not row.tls],
                rows,
                _ENGINE,
                lambda row: row.seconds,
            ),
        ),
    ]


def _of_tables(ours: Sequence[Row], rows: Sequence[Row], how: str) -> list[Target]:
    large = [row for row in ours if row.workload in _LARGE]
    plain = [row for row in large if not row.tls]
    minio = [row for row in plain if row.source == "minio"]
    nginx = [row for row in plain if row.source == "nginx"]
    return [
        at_least(0.85, f"of the bound, large files, {how}", _bound(plain)),
        at_least(3.5, f"x the fastest other tool, large files from MinIO, {how}", _best(minio)),
        at_least(5, f"x boto3, large files from MinIO, {how}", _against(minio, rows, _BOTO3, lambda row: row.mb_per_s)),
        at_least(1.8, f"x the fastest other tool, large files from nginx, {how}", _best(nginx)),
        at_least(1.3, f"x the fastest other tool, large files over TLS, {how}", _best(row for row in large if row.tls)),
        at_least(1, f"x the fastest other tool, small files, {how}", _best(r for r in ours if r.workload == "small")),
        at_most(
            1 / 5, f"of boto3's CPU from MinIO, {how}", _against(minio, rows, _BOTO3, lambda row: row.cpu_s_per_gib)
        ),
        at_most(
            1 / 4, f"of boto3's CPU from nginx, {how}", _against(nginx, rows, _BOTO3, lambda row: row.cpu_s_per_gib)
        ),
    ]


def at_least(limit: float, text: str, figures: Iterable[Figure]) -> Target:
    """Judge by the smallest figure."""
    figure, where = min(figures, default=(None, ""))
    return Target(f"at least {limit:g} {text}", figure, where, None if figure is None else figure >= limit)


def at_most(limit: float, text: str, figures: Iterable[Figure]) -> Target:
    """Judge by the largest figure."""
    figure, where = max(figures, default=(None, ""))
    return Target(f"at most {limit:g} {text}", figure, where, None if figure is None else figure <= limit)


def _of_sections(sections: Mapping[str, Any]) -> list[Target]:
    """Judge what isn't in the tables; a section that failed or is missing has none of the keys."""
    pods = [row for row in sections["pod"] if "kind" in row] if isinstance(sections.get("pod"), list) else []
    seconds = {kind: [row["seconds"] for row in pods if row["kind"] == kind] for kind in _POD_KINDS}
    waiting, tools, alone, ahead = (seconds[kind] for kind in _POD_KINDS)
    return [
        at_least(2, "x faster until read than the fastest other tool, waiting pod", _quotient(tools, waiting)),
        at_least(1.3, "x faster until read with read-ahead, staged and cold", _quotient(alone, ahead)),
        at_most(0.55, "of the model fetched again after a kill at half", _value(sections, "resume", "fetched_ratio")),
        at_most(1.15, "x an uninterrupted run's time, killed at half", _value(sections, "resume", "time_ratio")),
        at_most(10, "ms for a warm NodeStage + NodePublish", _value(sections, "warm", "median_ms")),
    ]


def _quotient(others: Sequence[float], ours: Sequence[float]) -> list[Figure]:
    return [(min(others) / min(ours), "pod")] if others and ours else []


def _value(sections: Mapping[str, Any], section: str, key: str) -> list[Figure]:
    found = sections.get(section)
    rows = found if isinstance(found, list) else [found or {}]
    return [(float(row[key]), section) for row in rows if key in row]


def _bound(rows: Iterable[Row]) -> Iterator[Figure]:
    return ((row.ratio_to_bound, _place(row)) for row in rows if row.ratio_to_bound is not None)


def _best(rows: Iterable[Row]) -> Iterator[Figure]:
    return ((row.ratio_to_best_other, _place(row)) for row in rows if row.ratio_to_best_other is not None)


def _against(rows: Iterable[Row], all_rows: Iterable[Row], tool: str, of: Callable[[Row], float]) -> Iterator[Figure]:
    """Divide each row's value by that of another tool in the same table."""
    others = {(row.workload, row.source, row.tls): of(row) for row in all_rows if row.tool == tool and row.rounds}
    for row in rows:
        other = others.get((row.workload, row.source, row.tls))
        if other:
            yield of(row) / other, _place(row)


def _place(row: Row) -> str:
    return f"{row.tool}, {row.workload}, {row.source}{', TLS' if row.tls else ''}"
