import pytest

from csi_model.transfer import stragglers
from csi_model.transfer.stragglers import Flight, Stragglers

MB = 1_000_000
WINDOW = 2.0


@pytest.fixture(autouse=True)
def window(monkeypatch):
    monkeypatch.setattr(stragglers, "WINDOW", WINDOW)


class Sky:
    """Flights with a rate each, and a clock."""

    def __init__(self, *rates, block=MB):
        self.now = 100.0
        self.block = block
        self.rates = {Flight(self.now, block): rate for rate in rates}
        self.brought = dict.fromkeys(self.rates, 0)
        self.found = Stragglers()

    def fly(self, seconds=WINDOW):
        """Let time pass; returns the rates of the flights that are to be cut."""
        self.now += seconds
        for flight, rate in self.rates.items():
            self.brought[flight] += int(rate * seconds)
            flight.received(self.brought[flight] // self.block * self.block)
            self.brought[flight] %= self.block
        return [self.rates[flight] for flight in self.found.find(self.rates, self.now)]

    def land(self):
        """Let all flights finish but the slowest."""
        slowest = min(self.rates, key=self.rates.get)
        for flight in list(self.rates):
            if flight is not slowest:
                self.found.finished(flight, self.now)
                del self.rates[flight]


def test_a_stream_far_slower_than_the_others_is_found():
    assert Sky(100 * MB, 90 * MB, 110 * MB, 10 * MB).fly() == [10 * MB]


def test_one_that_brings_nothing_at_all_is_found():
    assert Sky(100 * MB, 90 * MB, 110 * MB, 0).fly() == [0]


def test_all_that_are_slow_are_found_together():
    assert sorted(Sky(*[100 * MB] * 6, 1 * MB, 2 * MB).fly()) == [1 * MB, 2 * MB]


def test_usual_differences_are_none():
    assert Sky(100 * MB, 200 * MB, 50 * MB, 15 * MB, 120 * MB).fly() == []


def test_a_link_that_is_slow_for_all_has_no_stragglers():
    assert Sky(*[1000] * 8).fly() == []


def test_blocks_that_take_longer_than_a_window_make_no_stragglers():
    sky = Sky(*[MB // 3] * 4)
    for flight, there_already in zip(sky.rates, (0, MB // 4, MB // 2, MB // 4 * 3), strict=True):
        sky.brought[flight] = there_already
    assert [sky.fly() for _ in range(50)] == [[]] * 50


def test_on_a_slow_link_a_straggler_is_found_later():
    sky = Sky(*[MB] * 8, 0)
    assert [sky.fly() for _ in range(5)] == [[], [], [], [], [0]]


def test_a_standstill_of_all_has_no_stragglers():
    assert Sky(*[0] * 8).fly() == []


def test_too_few_say_nothing_about_what_is_usual():
    assert Sky(100 * MB, 100 * MB, 1 * MB).fly() == []


def test_it_waits_for_a_whole_window():
    sky = Sky(100 * MB, 90 * MB, 110 * MB, 10 * MB)
    assert sky.fly(WINDOW / 2) == []
    assert sky.fly(WINDOW / 2) == [10 * MB]


def test_the_last_one_is_measured_against_those_that_have_landed():
    sky = Sky(*[100 * MB] * 4, 1 * MB)
    sky.fly(WINDOW / 2)
    sky.land()
    assert sky.fly(WINDOW / 2) == [1 * MB]


def test_each_window_is_measured_by_itself():
    sky = Sky(100 * MB, 100 * MB, 100 * MB, 100 * MB)
    sky.fly()
    sky.rates[next(iter(sky.rates))] = 1 * MB
    assert sky.fly() == [1 * MB]


def test_a_run_is_cut_twice_and_then_left_alone():
    sky = Sky(*[100 * MB] * 7, 1 * MB)
    assert [sky.fly() for _ in range(4)] == [[1 * MB], [1 * MB], [], []]
    assert max(flight.cuts for flight in sky.rates) == 2


def test_what_was_usual_long_ago_is_forgotten():
    sky = Sky(*[100 * MB] * 8)
    for _ in range(5):
        sky.fly()
    sky.rates = dict.fromkeys(sky.rates, 1 * MB)
    sky.fly()
    assert sky.fly() == []
