"""What the driver must reach, and whether this run did: computed from the rows alone. No I/O."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.rows import Row

_LARGE = ("one", "shards", "model")
_BY_NODE_STAGE, _ENGINE, _AHEAD, _BOTO3 = "csi-model", "csi-model-engine", "csi-model-ahead", "boto3"
_POD_KINDS = ("waiting", "tool", "staged-cold", "staged-cold-read-ahead")
"""How the pod section's rows are told apart: our waiting pod, other tools, staged without and with read-ahead."""


class Figure(NamedTuple):
    """A value, where it was found, and the most that the bound of that place allows, if that is known."""

    value: float
    where: str
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A target.

    Attributes:
        text: what it says.
        figure: the worst that was measured; None if nothing was.
        where: the worst was measured.
        met: whether it is; None if nothing was measured.
        most: the most that the bound would have allowed there, if that is known.

    """

    text: str
    figure: float | None
    where: str
    met: bool | None
    most: float | None = None


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
        at_most(200, "MiB of memory at the peak", (Figure(row.peak_rss_mib, _place(row)) for row in ours)),
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
        at_least(5, f"x boto3, large files from MinIO, {how}", _against(minio, rows, _BOTO3, _speed)),
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
    worst = min(figures, key=lambda figure: figure.value, default=None)
    return _judged(f"at least {limit:g} {text}", worst, lambda value: value >= limit)


def at_most(limit: float, text: str, figures: Iterable[Figure]) -> Target:
    """Judge by the largest figure."""
    worst = max(figures, key=lambda figure: figure.value, default=None)
    return _judged(f"at most {limit:g} {text}", worst, lambda value: value <= limit)


def _judged(text: str, worst: Figure | None, is_met: Callable[[float], bool]) -> Target:
    if worst is None:
        return Target(text, None, "", None)
    return Target(text, worst.value, worst.where, is_met(worst.value), worst.most)


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
    return [Figure(min(others) / min(ours), "pod")] if others and ours else []


def _value(sections: Mapping[str, Any], section: str, key: str) -> list[Figure]:
    found = sections.get(section)
    rows = found if isinstance(found, list) else [found or {}]
    return [Figure(float(row[key]), section) for row in rows if key in row]


def _bound(rows: Iterable[Row]) -> Iterator[Figure]:
    return (Figure(row.ratio_to_bound, _place(row), 1.0) for row in rows if row.ratio_to_bound is not None)


def _best(rows: Iterable[Row]) -> Iterator[Figure]:
    for row in rows:
        if row.ratio_to_best_other is not None:
            yield Figure(row.ratio_to_best_other, _place(row), _most(row.ratio_to_best_other, row))


def _most(ratio: float, row: Row) -> float | None:
    """Return what a ratio of speeds would be if a row were at its bound."""
    return ratio / row.ratio_to_bound if row.ratio_to_bound else None


def _against(rows: Iterable[Row], all_rows: Iterable[Row], tool: str, of: Callable[[Row], float]) -> Iterator[Figure]:
    """Divide each row's value by that of another tool in the same table."""
    others = {(row.workload, row.source, row.tls): of(row) for row in all_rows if row.tool == tool and row.rounds}
    for row in rows:
        other = others.get((row.workload, row.source, row.tls))
        if other:
            ratio = of(row) / other
            yield Figure(ratio, _place(row), _most(ratio, row) if of is _speed else None)


def _speed(row: Row) -> float:
    return row.mb_per_s


def _place(row: Row) -> str:
    return f"{row.tool}, {row.workload}, {row.source}{', TLS' if row.tls else ''}"
