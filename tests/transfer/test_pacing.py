import pytest

from csi_model.transfer.pacing import Pace


def test_no_limit_is_no_delay(clock):
    pace = Pace(0.0, clock)
    assert [pace.delay(10**12), pace.delay(10**12)] == [0.0, 0.0]


def test_bytes_are_paid_for_once_they_are_here(clock):
    assert Pace(1000.0, clock).delay(500) == pytest.approx(0.5)


def test_all_transfers_share_one_rate(clock):
    pace = Pace(1000.0, clock)
    assert [pace.delay(500) for _ in range(4)] == pytest.approx([0.5, 1.0, 1.5, 2.0])


def test_time_that_passed_counts(clock):
    pace = Pace(1000.0, clock)
    pace.delay(500)
    clock.now += 0.3
    assert pace.delay(500) == pytest.approx(0.7)


def test_idle_time_is_not_saved_up(clock):
    pace = Pace(1000.0, clock)
    pace.delay(500)
    clock.now += 3600
    assert pace.delay(500) == pytest.approx(0.5)


def test_a_limit_below_one_block_a_second_works(clock):
    pace = Pace(10.0, clock)
    assert pace.delay(1000) == pytest.approx(100.0)
    clock.now += 100.0
    assert pace.delay(1000) == pytest.approx(100.0)


@pytest.mark.parametrize("size", [1, 999, 10_000])
def test_whoever_waits_as_told_never_exceeds_the_rate(clock, size):
    pace, begin, arrived = Pace(1000.0, clock), clock.now, 0
    for _ in range(50):
        delay = pace.delay(size)
        arrived += size
        clock.now += delay
        assert arrived <= 1000.0 * (clock.now - begin) * 1.0001
    assert clock.now - begin == pytest.approx(50 * size / 1000.0)
