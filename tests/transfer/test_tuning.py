"""The tuner against made-up links: how many streams it ends with. Its clock is counted, nothing waits."""

import pytest

from csi_model.transfer.tuning import Tuner

MB = 1_000_000
TICK = 0.05  # seconds
LEAST, START, MOST = 4, 8, 32


class Link:
    """Bytes per second for so many streams, and a clock that goes on as they arrive."""

    def __init__(self, rate_of, now=1000.0):
        self.rate_of = rate_of
        self.now = now

    def serve(self, tuner, seconds, *, busy=True):
        """Let bytes arrive for a while; returns the numbers of streams that were tried, in order."""
        seen = [tuner.limit]
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            tuner.received(int(self.rate_of(tuner.limit) * TICK), self.now, busy=busy)
            if tuner.limit != seen[-1]:
                seen.append(tuner.limit)
        return seen


def far_away(streams):
    """Each stream gets its own bandwidth."""
    return streams * 100 * MB


def full_with(enough):
    """A link that so many streams fill."""
    return lambda streams: min(streams, enough) * 100 * MB


@pytest.fixture
def tuner():
    return Tuner(LEAST, START, MOST)


def test_it_begins_with_the_number_it_was_given(tuner):
    assert tuner.limit == START


def test_it_climbs_to_the_most_while_each_stream_brings_its_own(tuner):
    tried = Link(far_away).serve(tuner, 60)
    assert tried[:3] == [8, 10, 12]
    assert MOST in tried
    assert max(tried) == MOST


def test_it_stays_at_the_most_but_for_trials_of_fewer(tuner):
    link = Link(far_away)
    link.serve(tuner, 60)
    assert set(link.serve(tuner, 60)) <= {MOST, MOST - MOST // 4}


def test_it_goes_back_when_more_streams_bring_nothing(tuner):
    assert Link(full_with(8)).serve(tuner, 5)[:3] == [8, 10, 8]


def test_a_gain_that_is_small_for_so_many_streams_is_none(tuner):
    assert Link(lambda streams: (100 + streams) * MB).serve(tuner, 5)[:3] == [8, 10, 8]


def test_it_stays_where_fewer_cost_much(tuner):
    tried = Link(full_with(8)).serve(tuner, 60)
    assert set(tried) == {8, 10, 6}
    assert tried[:5] == [8, 10, 8, 6, 8]


def test_it_saves_streams_that_bring_nothing(tuner):
    tried = Link(full_with(4)).serve(tuner, 20)
    assert tried == [8, 10, 8, 6, 5, 4]


def test_it_never_goes_below_the_least(tuner):
    assert min(Link(full_with(1)).serve(tuner, 200)) == LEAST


def test_it_rests_between_two_trials_once_nothing_helps(tuner):
    link = Link(full_with(8))
    link.serve(tuner, 8)
    assert link.serve(tuner, 10) == [8]


def test_it_tries_again_after_a_rest(tuner):
    link = Link(full_with(8))
    link.serve(tuner, 10)
    link.rate_of = far_away
    assert MOST in link.serve(tuner, 90)


def test_it_finds_what_a_link_needs_from_below():
    assert Link(full_with(16)).serve(Tuner(1, 2, MOST), 120)[-1] in range(14, 21)


def test_windows_without_work_for_all_prove_nothing(tuner):
    assert Link(far_away).serve(tuner, 60, busy=False) == [START]


def test_a_single_idle_moment_spoils_its_window_only(tuner):
    link = Link(far_away)
    link.serve(tuner, 1.0)
    link.serve(tuner, TICK, busy=False)
    assert link.serve(tuner, 0.5) == [8]
    assert link.serve(tuner, 1.5) == [8, 10]


def test_a_window_with_a_pause_in_it_proves_nothing(tuner):
    link = Link(far_away)
    for _ in range(20):
        link.now += 3.0
        link.serve(tuner, TICK)
    assert tuner.limit == START


def test_bytes_right_after_a_change_are_not_measured(tuner):
    link = Link(full_with(8))
    while link.serve(tuner, TICK) == [8]:
        pass
    tuner.received(10**12, link.now + 0.1, busy=True)  # what had piled up before
    assert link.serve(tuner, 2) == [10, 8]


def test_it_halves_when_the_source_asks_for_it(tuner):
    tuner.slow_down(1000.0)
    assert tuner.limit == 4


def test_streams_that_are_told_together_count_once(tuner):
    for number in range(8):
        tuner.slow_down(1000.0 + 0.1 * number)
    assert tuner.limit == 4


def test_the_source_is_heard_right_after_a_change_too(tuner):
    link = Link(far_away)
    while link.serve(tuner, TICK) == [8]:
        pass
    tuner.slow_down(link.now)
    assert tuner.limit == 5


def test_it_halves_again_when_that_was_not_enough(tuner):
    for number in range(5):
        tuner.slow_down(1000.0 + 2.0 * number)
    assert tuner.limit == 1


def test_it_rests_before_it_asks_for_more_again(tuner):
    link = Link(far_away)
    link.serve(tuner, TICK)
    tuner.slow_down(link.now)
    assert link.serve(tuner, 15) == [4]
    assert link.serve(tuner, 10)[:2] == [4, 5]


def test_a_trial_that_the_source_objects_to_is_over(tuner):
    link = Link(far_away)
    while link.serve(tuner, TICK) == [8]:
        pass
    tuner.slow_down(link.now)
    assert link.serve(tuner, 15) == [5]


def test_the_bounds_give_way_to_where_it_begins():
    low, high = Tuner(4, 1, 32), Tuner(4, 64, 32)
    assert set(Link(full_with(1)).serve(low, 60)) == {1, 2}
    assert set(Link(full_with(64)).serve(high, 60)) == {64, 48}
