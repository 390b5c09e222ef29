import threading

import pytest

from csi_model.errors import SourceBusy, SourceChanged, SourceDenied, SourceUnavailable
from csi_model.settings import TransferSettings
from csi_model.transfer.fetching import Stopped, fetch

SETTINGS = TransferSettings(attempts=4, backoff_initial=0.2, backoff_max=10.0)


class StopEvent(threading.Event):
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
    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.reads = 0

    def read_into(self, start, view):
        self.reads += 1
        outcome = self.outcomes.pop(0) if self.outcomes else b"data"
        if isinstance(outcome, Exception):
            raise outcome
        view[:] = outcome


@pytest.fixture
def stop():
    return StopEvent()


def run(reader, stop, retried=lambda: None):
    data = bytearray(4)
    fetch(reader, 0, memoryview(data), settings=SETTINGS, stop=stop, retried=retried)
    return bytes(data)


def test_a_good_read_is_not_repeated(stop):
    reader = Reader(b"good")
    assert (run(reader, stop), reader.reads, stop.waits) == (b"good", 1, [])


def test_an_unavailable_source_is_asked_again(stop):
    reader = Reader(SourceUnavailable("reset"), SourceUnavailable("reset"), b"good")
    assert (run(reader, stop), reader.reads) == (b"good", 3)


def test_the_last_error_counts_after_all_attempts(stop):
    reader = Reader(*[SourceUnavailable(f"try {n}") for n in range(1, 9)])
    with pytest.raises(SourceUnavailable, match="try 4"):
        run(reader, stop)
    assert reader.reads == SETTINGS.attempts


def test_there_is_no_pause_after_the_last_attempt(stop):
    with pytest.raises(SourceUnavailable):
        run(Reader(*[SourceUnavailable("down")] * 9), stop)
    assert len(stop.waits) == SETTINGS.attempts - 1


@pytest.mark.parametrize("error", [SourceDenied("no"), SourceChanged("other"), ValueError("bug")])
def test_a_final_error_is_not_repeated(stop, error):
    reader = Reader(error)
    with pytest.raises(type(error)):
        run(reader, stop)
    assert (reader.reads, stop.waits) == (1, [])


def test_pauses_grow_with_full_jitter(stop, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: (low, high)[1])
    with pytest.raises(SourceUnavailable):
        run(Reader(*[SourceUnavailable("down")] * 9), stop)
    assert stop.waits == pytest.approx([0.2, 0.4, 0.8])


def test_jitter_may_be_anything_from_nothing_on(stop, monkeypatch):
    asked = []
    monkeypatch.setattr("random.uniform", lambda low, high: asked.append((low, high)) or low)
    run(Reader(SourceUnavailable("down")), stop)
    assert asked == [(0, 0.2)]


def test_the_source_may_ask_for_a_longer_pause(stop):
    run(Reader(SourceBusy("slow down", 7.0)), stop)
    assert stop.waits == [7.0]


def test_the_source_can_not_ask_for_an_endless_pause(stop):
    run(Reader(SourceBusy("slow down", 86400.0)), stop)
    assert stop.waits == [SETTINGS.backoff_max]


def test_a_source_that_names_no_time_gets_the_usual_pause(stop, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    run(Reader(SourceBusy("slow down")), stop)
    assert stop.waits == pytest.approx([0.2])


def test_a_stop_ends_the_pause_and_the_repetitions(stop):
    stop.set_during_wait = True
    reader = Reader(*[SourceUnavailable("down")] * 9)
    with pytest.raises(Stopped):
        run(reader, stop)
    assert reader.reads == 1


def test_nothing_is_read_after_a_stop(stop):
    stop.set()
    reader = Reader()
    with pytest.raises(Stopped):
        run(reader, stop)
    assert reader.reads == 0


def test_what_a_stop_breaks_is_not_taken_for_an_error_of_the_source(stop):
    class Interrupted:
        def read_into(self, start, view):
            stop.set()
            raise SourceDenied("the connection was closed in the middle")

    with pytest.raises(Stopped):
        run(Interrupted(), stop)


def test_each_repetition_is_counted(stop):
    counted = []
    run(Reader(SourceUnavailable("a"), SourceUnavailable("b")), stop, lambda: counted.append(1))
    assert len(counted) == 2
