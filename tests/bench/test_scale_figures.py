"""Percentiles, targets and the table of the scale benchmark, from literal values."""

import json
import math

import pytest
from rich.console import Console

from bench.scale.figures import Figure, Spread, as_json, markdown, percentile, table


def test_a_percentile_is_a_value_that_was_measured():
    assert [percentile([1, 2, 3, 4], percent) for percent in (0, 25, 50, 51, 100)] == [1, 1, 2, 3, 4]


def test_the_99th_percentile_of_few_values_is_the_largest():
    assert percentile([1, 2, 9], 99) == 9


def test_nothing_has_no_percentile():
    assert math.isnan(percentile([], 99))


def test_a_spread_orders_what_it_is_given():
    spread = Spread.of([3.0, 1.0, 2.0])
    assert (spread.p50, spread.p99, spread.most, spread.count) == (2.0, 3.0, 3.0, 3)


def test_what_never_came_took_for_ever():
    spread = Spread.of([0.1] * 98, missing=2)
    assert (spread.p50, spread.p99) == (0.1, math.inf)
    assert "2 never" in spread.figure("labels").note


def test_a_spread_can_be_told_in_milliseconds():
    assert Spread.of([0.25]).figure("reviews", unit="ms").value == 250


@pytest.mark.parametrize(
    ("value", "met"), [(2.9, True), (3.0, False), (math.inf, False), (math.nan, False), (None, False)]
)
def test_a_target_is_met_below_it(value, met):
    assert Figure("labels", value, "s", most=3).met is met


def test_without_a_target_nothing_is_met_or_missed():
    assert Figure("labels", 1.0, "s").met is None


def test_the_json_has_no_values_that_json_does_not_know():
    rows = as_json(
        [Figure("a", math.inf, "s"), Figure("b", math.nan, "s"), Figure("c", None, "s"), Figure("d", 1.5, "s")]
    )
    assert [row["value"] for row in rows] == [None, None, None, 1.5]
    json.dumps(rows, allow_nan=False)


def test_the_table_shows_value_target_and_whether_it_is_reached():
    console = Console(width=150)
    with console.capture() as shown:
        console.print(
            table([Figure("labels, p99", 3.21, "s", 3, "p50 1"), Figure("reviews", None, "ms")], "1,000 nodes")
        )
    lines = shown.get().splitlines()
    assert any("labels, p99" in line and "3.21 s" in line and "< 3 s" in line and " no " in line for line in lines)
    assert any("reviews" in line and "not measured" in line for line in lines)


def test_the_page_has_a_row_for_each_figure():
    assert markdown([Figure("pods", 10_000.0, "", note="all")]).splitlines()[-1] == "| pods | 10,000 |  | all |"
