import logging

import pytest

from csi_model.errors import SourceUnavailable
from csi_model.transfer.meter import Meter

MB = 1_000_000


@pytest.fixture
def meter(clock):
    return Meter(1000 * MB, 3, clock=clock)


def flow(meter, clock, *, rate, seconds):
    for _ in range(round(seconds * 10)):
        clock.now += 0.1
        meter.landed(round(rate / 10))


def test_nothing_has_happened_at_first(meter):
    progress = meter.progress()
    assert (progress.total, progress.present, progress.fetched, progress.rate, progress.files) == (
        1000 * MB,
        0,
        0,
        0,
        3,
    )


def test_what_landed_is_present_and_fetched(meter):
    meter.landed(7)
    assert (meter.progress().present, meter.progress().fetched, meter.progress().shared) == (7, 7, 0)


def test_many_small_files_cost_few_samples(meter, clock):
    for _ in range(10_000):
        clock.now += 0.001
        meter.landed(20_000)
    assert len(meter._samples) < 60
    assert meter.progress().rate == pytest.approx(20 * MB, rel=0.05)


def test_what_was_here_before_is_shared(meter):
    meter.found(40)
    meter.resumed(2)
    meter.landed(5)
    progress = meter.progress()
    assert (progress.present, progress.fetched, progress.shared) == (47, 5, 42)


def test_a_second_look_counts_nothing_twice(meter):
    meter.found(40)
    meter.landed(5)
    meter.found(0)
    meter.resumed(45)
    assert (meter.progress().present, meter.progress().shared) == (45, 40)


def test_present_never_exceeds_the_total(meter):
    meter.landed(1001 * MB)
    assert meter.progress().present == 1000 * MB


def test_the_rate_is_that_of_the_last_seconds(meter, clock):
    flow(meter, clock, rate=10 * MB, seconds=20)
    flow(meter, clock, rate=30 * MB, seconds=6)
    assert meter.progress().rate == pytest.approx(30 * MB, rel=0.05)


def test_the_rate_is_known_soon(meter, clock):
    flow(meter, clock, rate=20 * MB, seconds=1)
    assert meter.progress().rate == pytest.approx(20 * MB, rel=0.05)


def test_a_few_small_files_tell_no_rate(meter, clock):
    flow(meter, clock, rate=1 * MB, seconds=1)
    assert meter.progress().rate == 0


def test_a_small_model_that_is_whole_tells_its_rate(clock):
    meter = Meter(2 * MB, 1, clock=clock)
    flow(meter, clock, rate=1 * MB, seconds=2)
    assert meter.progress().rate == pytest.approx(1 * MB, rel=0.05)


def test_a_stall_brings_the_rate_to_zero(meter, clock):
    flow(meter, clock, rate=2 * MB, seconds=20)
    clock.now += 6
    assert meter.progress().rate == 0


def test_after_a_stall_the_rate_counts_the_stall(meter, clock):
    clock.now += 20
    meter.landed(20 * MB)
    assert meter.progress().rate == pytest.approx(1 * MB)


def test_retries_and_notes_are_told(meter):
    meter.retried(SourceUnavailable("reset"))
    meter.note = "assembling"
    assert (meter.progress().retries, meter.progress().note) == (1, "assembling")


def test_elapsed_counts_from_the_beginning(meter, clock):
    clock.now += 3
    assert meter.elapsed() == pytest.approx(3)


def test_repetitions_are_logged_now_and_then_with_the_last_reason(meter, clock, caplog):
    caplog.set_level(logging.INFO)
    for reason in ("reset", "reset", "stalled"):
        meter.retried(SourceUnavailable(reason))
    clock.now += 5
    meter.retried(SourceUnavailable("busy"))
    assert [record.getMessage() for record in caplog.records] == [
        "repeated 1 requests so far, the last because: reset",
        "repeated 4 requests so far, the last because: busy",
    ]
