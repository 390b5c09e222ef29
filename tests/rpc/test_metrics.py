"""What is counted, and how it is shown."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from csi_model import __version__, errors
from csi_model.node.telling import OUTCOMES
from csi_model.rpc import codes, metrics
from csi_model.rpc.metrics import TABLE, Kind, Metrics
from tests.rpc.conftest import MOUNT, Driver

STAGE = {"volume_id": "m-1", "staging_target_path": "/staging", "volume_capability": MOUNT}


def samples(counted: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """Read the page: sample name → values of its labels, the labels in alphabetical order → value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(counted.page().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


@pytest.fixture
def counted() -> Metrics:
    return Metrics(node=True)


@pytest.fixture
def observed(make_driver: Callable[..., Driver], counted: Metrics) -> Driver:
    return make_driver(observe=counted.called)


def test_a_call_is_counted_by_method_and_code(observed: Driver, counted: Metrics) -> None:
    observed.stage()
    observed.node.fail_with = errors.StoreFull("no")
    observed.refusal("NodeStageVolume", **STAGE)
    calls = samples(counted)["csi_model_rpc_seconds_count"]
    assert calls == {("OK", "NodeStageVolume"): 1, ("RESOURCE_EXHAUSTED", "NodeStageVolume"): 1}


def test_an_error_is_counted_by_its_type(observed: Driver, counted: Metrics) -> None:
    observed.node.fail_with = errors.SourceDenied("no")
    observed.refusal("NodeStageVolume", **STAGE)
    told = samples(counted)["csi_model_errors_total"]
    assert {kind: count for kind, count in told.items() if count} == {("SourceDenied",): 1}


class Odd(errors.SourceBusy):
    """A type that no table names."""


@pytest.mark.parametrize(("error", "kind"), [(RuntimeError("x"), "Bug"), (Odd("x"), "SourceBusy")])
def test_no_type_but_the_tables_is_ever_a_label(
    observed: Driver, counted: Metrics, error: Exception, kind: str
) -> None:
    before = samples(counted)["csi_model_errors_total"].keys()
    observed.node.fail_with = error
    observed.refusal("NodeStageVolume", **STAGE)
    after = samples(counted)["csi_model_errors_total"]
    assert after.keys() == before == {(row.error.__name__,) for row in codes.TABLE} | {("Bug",)}
    assert after[kind,] == 1


def test_a_call_that_is_not_offered_is_no_error(observed: Driver, counted: Metrics) -> None:
    observed.refusal("ControllerExpandVolume")
    assert not any(samples(counted)["csi_model_errors_total"].values())


def test_a_method_that_nobody_offers_is_not_counted(observed: Driver, counted: Metrics) -> None:
    call = observed.channel.unary_unary("/csi.v1.Identity/FromOutside", lambda _: b"", lambda data: data)
    assert call.future(None, timeout=30).code().name == "UNIMPLEMENTED"
    assert "csi_model_rpc_seconds_count" not in samples(counted)


def test_every_outcome_of_a_staging_is_there_from_the_beginning(counted: Metrics) -> None:
    counted.staged("staged", 42.0)
    told = samples(counted)
    assert told["csi_model_stage_seconds_count"] == {(outcome,): outcome == "staged" for outcome in OUTCOMES}
    assert told["csi_model_stage_seconds_sum"]["staged",] == 42


def test_figures_are_read_at_each_scrape(counted: Metrics) -> None:
    bytes_in_use = iter([1, 2])
    counted.collect_from(lambda: {"csi_model_store_used_bytes": next(bytes_in_use), "csi_model_fetched_bytes_total": 7})
    assert samples(counted)["csi_model_store_used_bytes"] == {(): 1}
    told = samples(counted)
    assert told["csi_model_store_used_bytes"] == {(): 2}
    assert told["csi_model_fetched_bytes_total"] == {(): 7}


def test_the_version_and_the_process_are_told(counted: Metrics) -> None:
    told = samples(counted)
    assert told["csi_model_build_info"] == {(__version__,): 1}
    assert told["process_resident_memory_bytes"][()] > 0


def test_a_controller_has_no_stagings() -> None:
    assert not [name for name in samples(Metrics(node=False)) if "stage" in name]


@pytest.mark.parametrize("counted", [Metrics(node=True, webhook=True, steering=True)])
def test_nothing_is_shown_that_the_table_does_not_name(observed: Driver, counted: Metrics) -> None:
    observed.stage()
    counted.collect_from(lambda: {metric.name: 0 for metric in TABLE if not metric.labels})
    counted.collect_from(lambda: {metrics.WRITES.name: {"labels": 7}})
    shown = {f.name for f in text_string_to_metric_families(counted.page().decode()) if f.name.startswith("csi_model")}
    assert shown == {m.name.removesuffix("_total") if m.kind is Kind.COUNTER else m.name for m in TABLE}


def test_no_call_is_lost_among_many(counted: Metrics) -> None:
    def call() -> None:
        for _ in range(200):
            counted.called("Probe", "OK", 0.001, "")

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert samples(counted)["csi_model_rpc_seconds_count"]["OK", "Probe"] == 1600


def test_the_documentation_is_rendered_from_the_table() -> None:
    written = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert written.read_text() == metrics.render(), "run python -m csi_model.rpc.metrics > docs/metrics.md"
