"""What is met and what is missed, from literal rows."""

import pytest

from bench.rows import Row
from bench.targets import targets

BASE = {"rounds": 3, "durable": True}


def row(tool, workload="one", source="minio", *, tls=False, **figures):
    return Row(workload, source, tls, tool, **{**BASE, **figures})


def judged(text, rows, sections=None):
    return next(target for target in targets(rows, sections or {}) if text in target.text)


def test_the_worst_workload_decides():
    rows = [row("csi-model", ratio_to_best_other=4.0), row("csi-model-engine", "shards", ratio_to_best_other=3.0)]
    target = judged("fastest other tool, large files from MinIO", rows)
    assert (target.met, target.figure, target.where) == (False, 3.0, "csi-model-engine, shards, minio")


def test_it_is_told_what_the_bound_would_have_allowed():
    rows = [row("csi-model", ratio_to_best_other=1.2, ratio_to_bound=0.8, mb_per_s=600), row("boto3", mb_per_s=200)]
    assert judged("fastest other tool, large files from MinIO", rows).most == pytest.approx(1.5)
    assert judged("x boto3", rows).most == pytest.approx(3.75)
    assert judged("of the bound", rows).most == 1
    assert judged("MiB of memory", rows).most is None


def test_what_nobody_waits_for_is_judged_by_itself():
    rows = [row("csi-model", ratio_to_bound=0.9), row("csi-model-ahead", ratio_to_bound=0.5)]
    assert judged("of the bound", rows).met
    assert not judged("past the page cache", rows).met


def test_small_files_do_not_count_as_large_ones():
    rows = [row("csi-model", ratio_to_bound=0.9), row("csi-model", "small", ratio_to_bound=0.1)]
    assert judged("of the bound", rows).met


def test_what_was_not_measured_is_neither_met_nor_missed():
    assert {target.met for target in targets([], {})} == {None}


def test_boto3_is_compared_within_one_table():
    rows = [row("csi-model", mb_per_s=1000), row("boto3", mb_per_s=250), row("boto3", "shards", mb_per_s=10)]
    assert judged("x boto3", rows).figure == 4


def test_less_of_the_processor_is_better():
    rows = [row("csi-model", cpu_s_per_gib=1.0), row("boto3", cpu_s_per_gib=6.0)]
    assert judged("boto3's CPU from MinIO", rows).met


def test_node_stage_may_take_a_twentieth_longer_than_the_engine():
    rows = [row("csi-model", seconds=1.06), row("csi-model-engine", seconds=1.0)]
    assert judged("engine's seconds", rows).met is False


def test_the_waiting_pod_is_compared_with_the_fastest_other_tool():
    pods = [{"kind": "waiting", "seconds": 2.0}, {"kind": "tool", "seconds": 5.0}, {"kind": "tool", "seconds": 9.0}]
    assert judged("waiting pod", [], {"pod": pods}).figure == 2.5


def test_a_section_that_failed_is_not_judged():
    assert judged("NodePublish", [], {"warm": {"failure": "no driver"}}).met is None
