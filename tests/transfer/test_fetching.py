import threading
from contextlib import closing

import pytest

from csi_model.errors import SourceBusy, SourceChanged, SourceDenied, SourceUnavailable
from csi_model.settings import TransferSettings
from csi_model.sources.base import Abort
from csi_model.transfer.fetching import Stopped, fetch

SETTINGS = TransferSettings(attempts=4, backoff_initial=0.2, backoff_max=10.0)
DATA = b"0123456789"


class Halt(threading.Event):
    """Waits in no time, and remembers how long it should have been."""

    def __init__(self):
        super().__init__()
        self.waits = []
        self.set_during_wait = False

    def wait(self, timeout=None):
        self.waits.append(timeout)
        if self.set_during_wait:
            self.set()
        return self.is_set()


class Reader:
    """Gives bytes of DATA; each read takes the next outcome: (views it gives, the error after them)."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.reads = []
        self.closed = 0
        self.aborts = []

    def read(self, start, views, abort=None):
        self.reads.append((start, [len(view) for view in views]))
        self.aborts.append(abort)
        good, error = self.outcomes.pop(0) if self.outcomes else (len(views), None)
        try:
            for view in views[:good]:
                view[:] = DATA[start : start + len(view)]
                start += len(view)
                yield view
            if error is not None:
                raise error
        finally:
            self.closed += 1


def down(number=1):
    """Outcomes that give nothing at all."""
    return [(0, SourceUnavailable(f"try {count}")) for count in range(1, number + 1)]


@pytest.fixture
def halt():
    return Halt()


def begin(reader, halt, *lengths, start=0, abort=None, retried=lambda _: None):
    views = [memoryview(bytearray(length)) for length in lengths or (4,)]
    return fetch(
        reader, start, views, settings=SETTINGS, halt=halt, abort=abort or Abort(), retried=retried
    )  # fmt: skip


def run(*arguments, **options):
    return [bytes(view) for view in begin(*arguments, **options)]


def test_a_good_read_is_not_repeated(halt):
    reader = Reader()
    assert run(reader, halt, 3, 2, start=1) == [b"123", b"45"]
    assert (reader.reads, halt.waits) == ([(1, [3, 2])], [])


def test_an_unavailable_source_is_asked_again(halt):
    reader = Reader(*down(2))
    assert run(reader, halt) == [b"0123"]
    assert len(reader.reads) == 3


def test_it_goes_on_at_the_view_that_failed(halt):
    reader = Reader((2, SourceUnavailable("reset")), (1, SourceUnavailable("reset")))
    assert run(reader, halt, 1, 2, 3, 4) == [b"0", b"12", b"345", b"6789"]
    assert reader.reads == [(0, [1, 2, 3, 4]), (3, [3, 4]), (6, [4])]


def test_a_view_listed_twice_is_given_twice(halt):
    view = memoryview(bytearray(2))
    blocks = fetch(
        Reader((1, SourceUnavailable("reset"))), 0, [view, view],
        settings=SETTINGS, halt=halt, abort=Abort(), retried=lambda _: None,
    )  # fmt: skip
    assert [bytes(block) for block in blocks] == [b"01", b"23"]


def test_the_last_error_counts_after_all_attempts(halt):
    reader = Reader(*down(8))
    with pytest.raises(SourceUnavailable, match="try 4"):
        run(reader, halt)
    assert len(reader.reads) == SETTINGS.attempts


def test_a_failure_that_brought_something_is_the_first_of_a_new_row(halt):
    most = SETTINGS.attempts - 1
    reader = Reader(*down(most), (1, SourceUnavailable("reset")), *down(most - 1))
    assert run(reader, halt, 1, 1) == [b"0", b"1"]
    assert len(reader.reads) == 2 * most + 1


def test_failures_in_a_row_end_it_however_much_came_before(halt):
    reader = Reader((1, SourceUnavailable("the first")), *down(8))
    with pytest.raises(SourceUnavailable, match=f"try {SETTINGS.attempts - 1}"):
        run(reader, halt, 1, 1)
    assert len(reader.reads) == SETTINGS.attempts


def test_any_number_of_failures_is_borne_while_each_read_brings_something(halt):
    reader = Reader(*[(1, SourceUnavailable("reset"))] * 9)
    assert b"".join(run(reader, halt, *[1] * 10)) == DATA


def test_what_came_before_a_final_error_was_given(halt):
    blocks = begin(Reader((1, SourceChanged("other"))), halt, 4, 4)
    assert bytes(next(blocks)) == b"0123"
    with pytest.raises(SourceChanged):
        next(blocks)


def test_there_is_no_pause_after_the_last_attempt(halt):
    with pytest.raises(SourceUnavailable):
        run(Reader(*down(9)), halt)
    assert len(halt.waits) == SETTINGS.attempts - 1


@pytest.mark.parametrize("error", [SourceDenied("no"), SourceChanged("other"), ValueError("bug")])
def test_a_final_error_is_not_repeated(halt, error):
    reader = Reader((0, error))
    with pytest.raises(type(error)):
        run(reader, halt)
    assert (len(reader.reads), halt.waits) == (1, [])


def test_pauses_grow_with_full_jitter(halt, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: (low, high)[1])
    with pytest.raises(SourceUnavailable):
        run(Reader(*down(9)), halt)
    assert halt.waits == pytest.approx([0.2, 0.4, 0.8])


def test_progress_makes_the_pause_short_again(halt, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    run(Reader(*down(2), (1, SourceUnavailable("reset"))), halt, 1, 1)
    assert halt.waits == pytest.approx([0.2, 0.4, 0.2])


def test_jitter_may_be_anything_from_nothing_on(halt, monkeypatch):
    asked = []
    monkeypatch.setattr("random.uniform", lambda low, high: asked.append((low, high)) or low)
    run(Reader(*down()), halt)
    assert asked == [(0, 0.2)]


def test_the_source_may_ask_for_a_longer_pause(halt):
    run(Reader((0, SourceBusy("slow down", 7.0))), halt)
    assert halt.waits == [7.0]


def test_the_source_can_not_ask_for_an_endless_pause(halt):
    run(Reader((0, SourceBusy("slow down", 86400.0))), halt)
    assert halt.waits == [SETTINGS.backoff_max]


def test_a_source_that_names_no_time_gets_the_usual_pause(halt, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    run(Reader((0, SourceBusy("slow down"))), halt)
    assert halt.waits == pytest.approx([0.2])


def test_a_halt_ends_the_pause_and_the_repetitions(halt):
    halt.set_during_wait = True
    reader = Reader(*down(9))
    with pytest.raises(Stopped):
        run(reader, halt)
    assert len(reader.reads) == 1


def test_nothing_is_read_after_a_halt(halt):
    halt.set()
    reader = Reader()
    with pytest.raises(Stopped):
        run(reader, halt)
    assert reader.reads == []


def test_a_halt_ends_it_between_two_views_and_closes_the_read(halt):
    reader = Reader()
    blocks = begin(reader, halt, 1, 1)
    next(blocks)
    halt.set()
    with pytest.raises(Stopped):
        next(blocks)
    assert reader.closed == 1


def test_what_a_halt_breaks_is_not_taken_for_an_error_of_the_source(halt):
    class Interrupted:
        def read(self, start, views, abort=None):
            halt.set()
            raise SourceDenied("the connection was closed in the middle")
            yield

    with pytest.raises(Stopped):
        run(Interrupted(), halt)


def test_closing_it_early_closes_the_read(halt):
    reader = Reader()
    with closing(begin(reader, halt, 1, 1)) as blocks:
        next(blocks)
        assert reader.closed == 0
    assert reader.closed == 1


def test_each_repetition_is_told_with_its_error(halt):
    told = []
    run(Reader(*down(2)), halt, retried=told.append)
    assert [str(error) for error in told] == ["try 1", "try 2"]


def test_an_error_is_told_before_the_pause(halt):
    waits = []
    run(Reader((0, SourceBusy("slow down", 7.0))), halt, retried=lambda _: waits.extend(halt.waits))
    assert (waits, halt.waits) == ([], [7.0])


def test_every_read_gets_the_abort(halt):
    abort, reader = Abort(), Reader(*down(1))
    run(reader, halt, abort=abort)
    assert reader.aborts == [abort, abort]
