"""Percentiles, targets and the table. No I/O."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

_LARGE = 1000  # from here on a value is shown as a whole number


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        what: was measured.
        value: of it; None if it couldn't be.
        unit: of the value.
        most: the target: at most this; None if it has none.
        note: how it came about, such as other percentiles.

    """

    what: str
    value: float | None
    unit: str
    most: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without a target."""
        if self.most is None:
            return None
        return self.value is not None and self.value < self.most


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something took, several times over, in seconds; ``missing`` are those that never came."""

    count: int
    p50: float
    p99: float
    most: float
    missing: int = 0

    @classmethod
    def of(cls, seconds: Sequence[float], *, missing: int = 0) -> "Spread":
        """Summarise; one that never came took for ever, so that it can't be overlooked."""
        values = [*sorted(seconds), *[math.inf] * missing]
        return cls(len(seconds), percentile(values, 50), percentile(values, 99), percentile(values, 100), missing)

    def figure(self, what: str, *, most: float | None = None, unit: str = "s") -> Figure:
        """Make a line: the 99th percentile is its value."""
        scale = 1000 if unit == "ms" else 1
        note = f"p50 {self.p50 * scale:.3g}, max {self.most * scale:.3g}, of {self.count}"
        if self.missing:
            note += f"; {self.missing} never"
        return Figure(f"{what}, p99", self.p99 * scale, unit, most, note)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the least of the ordered values that at least so many per cent are not above; NaN without values."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def table(figures: Sequence[Figure], title: str) -> Table:
    """Lay out the lines for people."""
    made = Table("measured", "value", "target", "reached", "how it spreads", title=title, title_justify="left")
    for number in (1, 2):
        made.columns[number].justify = "right"
    words = {True: "yes", False: "[bold]no[/bold]", None: ""}
    for figure in figures:
        target = "" if figure.most is None else f"< {figure.most:g} {figure.unit}"
        made.add_row(figure.what, _value(figure), target, words[figure.met], figure.note)
    return made


def markdown(figures: Sequence[Figure]) -> str:
    """Lay out the lines for docs/scale.md."""
    lines = ["| Measured | Value | Target | How it spreads |", "|---|---|---|---|"]
    for figure in figures:
        target = "" if figure.most is None else f"< {figure.most:g} {figure.unit}"
        lines.append(f"| {figure.what} | {_value(figure)} | {target} | {figure.note} |")
    return "\n".join(lines)


def as_json(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """Give the lines for machines; what isn't a finite number is null."""
    rows = [{**asdict(figure), "met": figure.met} for figure in figures]
    for row in rows:
        if row["value"] is not None and not math.isfinite(row["value"]):
            row["value"] = None
    return rows


def _value(figure: Figure) -> str:
    if figure.value is None or math.isnan(figure.value):
        return "not measured"
    if math.isinf(figure.value):
        return "never"
    value = f"{figure.value:.3g}" if figure.value < _LARGE else f"{figure.value:,.0f}"
    return f"{value} {figure.unit}".rstrip()
