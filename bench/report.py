"""The results, for people and for machines."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.bound import Bound, Disk
from bench.machine import Machine
from bench.rows import Row
from bench.targets import Target, targets

_COLUMNS = (
    "tool", "MB/s", "min-max", "CPU s/GiB", "server's", "peak RSS MiB", "x best other", "of bound", "durable",
    "verified",
)  # fmt: skip


@dataclass(slots=True)
class Results:
    """All that a run has found; filled while it goes on, so that what was found is shown even if it is interrupted."""

    machine: Machine
    date: str
    arguments: str
    rows: list[Row] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)
    hash_costs: dict[str, float] = field(default_factory=dict)
    sections: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def targets(self) -> list[Target]:
        return targets(self.rows, self.sections)

    def as_json(self) -> dict[str, Any]:
        return {
            "date": self.date,
            "machine": self.machine.as_json(),
            "arguments": self.arguments,
            "seconds": self.seconds,
            "rows": [asdict(row) for row in self.rows],
            "bound": {
                "tables": [bound.as_json() for bound in self.bounds],
                "disk": [asdict(disk) for disk in self.disks],
                "hash_cpu_s_per_gib": self.hash_costs,
            },
            **self.sections,
            "targets": [asdict(target) for target in self.targets()],
        }


def write_json(results: Results, path: Path) -> None:
    """Write the results for machines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results.as_json(), indent=2) + "\n")


def show(results: Results, out: Console) -> None:
    """Print the results for people."""
    out.print(f"\n{results.machine.in_words}, {results.date}", soft_wrap=True)
    for (source, tls), rows in groupby(sorted(results.rows, key=_table_of), key=_table_of):
        out.print(_rates(f"{source}{' over TLS' if tls else ''}", list(rows)))
    out.print(_settings(results.rows))
    out.print(_bounds(results))
    for name, section in results.sections.items():
        out.print(_section(name, section))
    out.print(_targets(results.targets()))


def _table_of(row: Row) -> tuple[str, bool]:
    return row.source, row.tls


def _rates(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in {"tool", "verified", "durable"} else "right")
    for workload, group in groupby(rows, key=lambda row: row.workload):
        table.add_section()
        table.add_row(Text(workload, style="bold"))
        for row in sorted(group, key=lambda row: -row.mb_per_s):
            table.add_row(*_cells(row), style="green" if row.ours else "")
    return table


def _cells(row: Row) -> list[str]:
    if not row.rounds:
        return [row.tool, "failed", "", "", "", "", "", "", "", ""]
    return [
        row.tool + (" (!)" if row.failure else ""),
        f"{row.mb_per_s:.0f}",
        f"{row.mb_per_s_min:.0f}-{row.mb_per_s_max:.0f}",
        f"{row.cpu_s_per_gib:.2f}",
        f"{row.server_cpu_s_per_gib:.2f}",
        f"{row.peak_rss_mib:.0f}",
        _ratio(row.ratio_to_best_other),
        _ratio(row.ratio_to_bound),
        "yes" if row.durable else "no",
        row.verified,
    ]


def _settings(rows: Sequence[Row]) -> Text:
    """Say each tool's settings, and what failed and why."""
    notes = {f"  {row.tool}: {row.note}" for row in rows if row.note}
    failures = {f"  {row.tool}, {row.workload}, {row.source}: {row.failure}" for row in rows if row.failure}
    lines = ["Settings", *sorted(notes), *(["Failures (!)", *sorted(failures)] if failures else [])]
    return Text("\n".join(lines) + "\n")


def _bounds(results: Results) -> Table:
    table = Table(title="What this machine allows (bound = the least of link, disk and cores)", title_justify="left")
    for column in ("workload", "source"):
        table.add_column(column)
    for column in ("link MB/s", "disk MB/s", "cores MB/s", "bound", "server", "+ receive", "+ hash", "+ write s/GiB"):
        table.add_column(column, justify="right")
    for bound in results.bounds:
        rates = (bound.link_mb_per_s, bound.disk_mb_per_s, bound.cores_mb_per_s)
        costs = (bound.server_cost, bound.receive_cost, bound.hash_cost, bound.write_cost)
        table.add_row(
            bound.workload, bound.source + (", TLS" if bound.tls else ""), *(f"{rate:.0f}" for rate in rates),
            f"{bound.mb_per_s:.0f} ({bound.limited_by})", *(f"{cost:.2f}" for cost in costs),
        )  # fmt: skip
    disks = ", ".join(f"{disk.mb_per_s:.0f}" for disk in results.disks)
    hashes = ", ".join(f"{name} {cost:.2f}" for name, cost in results.hash_costs.items())
    table.caption = f"disk, in the order it was measured: {disks} MB/s; hashes, CPU s/GiB: {hashes}"
    table.caption_justify = "left"
    return table


def _section(name: str, section: Any) -> Table:
    """Show one of the other sections: rows of equal keys, or one such row."""
    rows: list[dict[str, Any]] = section if isinstance(section, list) else [section]
    table = Table(title=name, title_justify="left")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(_text(row.get(column, "")) for column in columns))
    return table


def _targets(judged: Sequence[Target]) -> Table:
    table = Table(title="Targets", title_justify="left")
    for column in ("", "target", "measured", "bound allows", "where it was worst"):
        table.add_column(column)
    words = {True: Text("met", "green"), False: Text("missed", "red"), None: Text("not measured", "dim")}
    for target in judged:
        figure = "" if target.figure is None else f"{target.figure:.3g}"
        most = "" if target.most is None else f"{target.most:.3g}"
        table.add_row(words[target.met], target.text, figure, most, target.where)
    return table


def _text(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
