"""Medians, ratios and orders from literal runs."""

from dataclasses import replace

import pytest

from bench.rows import GIB, Row, Run, best_other, fastest_others, rotated, row_of, with_ratios

SIZE = 1_000_000_000
RUN = Run(seconds=1.0, cpu_seconds=2.0, server_cpu_seconds=1.0, peak_rss_mib=50, durable=True)


def table(**rates):
    return [Row("one", "minio", False, name, mb_per_s=rate, durable=True, rounds=3) for name, rate in rates.items()]


def test_a_row_has_the_median_and_the_spread_of_its_runs():
    runs = [replace(RUN, seconds=seconds) for seconds in (1.0, 4.0, 2.0)]
    row = row_of("one", "minio", "x", runs, SIZE, tls=False)
    assert (row.mb_per_s, row.mb_per_s_min, row.mb_per_s_max) == (500, 250, 1000)
    assert row.cpu_s_per_gib == pytest.approx(2 * GIB / SIZE)


def test_memory_is_the_worst_of_all_runs():
    row = row_of("one", "minio", "x", [RUN, replace(RUN, peak_rss_mib=90)], SIZE, tls=False)
    assert row.peak_rss_mib == 90


def test_a_failed_run_is_told_of_and_counts_for_nothing():
    row = row_of("one", "minio", "x", [RUN, Run(failure="no route")], SIZE, tls=False)
    assert (row.rounds, row.mb_per_s, row.failure) == (1, 1000, "1 of 2 failed: no route")


def test_a_tool_that_always_fails_has_no_ratio():
    row = row_of("one", "minio", "x", [Run(failure="no route")], SIZE, tls=False)
    assert with_ratios([row, *table(boto3=1)], 10)[0].ratio_to_best_other is None


def test_a_tool_that_writes_nothing_is_no_rival():
    memory = replace(table(runai=900)[0], durable=False)
    assert best_other([memory, *table(boto3=300, obstore=400)]).tool == "obstore"


def test_our_own_tools_and_their_variants_are_no_rivals():
    rows = table(**{"csi-model": 900, "csi-model-engine (no SHA-NI)": 800, "boto3": 300})
    assert best_other(rows).tool == "boto3"


def test_ratios_are_to_the_fastest_other_and_to_the_bound():
    ours, other = with_ratios(table(**{"csi-model": 900, "boto3": 300}), 1000)
    assert (ours.ratio_to_best_other, ours.ratio_to_bound) == (3, 0.9)
    assert (other.ratio_to_best_other, other.ratio_to_bound) == (1, 0.3)


def test_a_changed_machine_has_another_bound():
    (row,) = with_ratios(table(**{"csi-model (no SHA-NI)": 900}), 1000)
    assert row.ratio_to_bound is None


def test_the_fastest_others_come_fastest_first():
    rows = table(**{"csi-model": 900, "curl": 200, "boto3": 300, "obstore": 400})
    assert fastest_others(rows, 2) == ["obstore", "boto3"]


def test_each_turn_begins_with_another_tool():
    orders = [rotated("abcdef", turn, 3) for turn in range(3)]
    assert ["".join(order) for order in orders] == ["abcdef", "cdefab", "efabcd"]


def test_fewer_tools_than_turns_rotate_all_the_same():
    assert [rotated("ab", turn, 3) for turn in range(3)] == [["a", "b"], ["b", "a"], ["a", "b"]]
