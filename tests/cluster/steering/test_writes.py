import threading

import pytest

from csi_model.cluster.errors import ApiConflict, ApiRefused, ApiUnavailable
from csi_model.cluster.steering.asked import PATIENCE, Asked, Landed
from csi_model.cluster.steering.bucket import Bucket
from csi_model.cluster.steering.writes import Change, Rank, Writes
from tests.fakes.clock import Clock


class Written:
    """Changes that note when they are written, and what became of them."""

    def __init__(self):
        self.order, self.ends = [], []
        self.entered, self.gate = threading.Semaphore(0), threading.Event()
        self.fail = {}

    def change(self, name, rank=Rank.LABELS, *, held=False, target=None):
        def write():
            self.order.append(name)
            self.entered.release()
            if held:
                self.gate.wait(10)
            if self.fail.get(name):
                raise self.fail[name].pop(0)
            return 7

        end = lambda error, version: self.ends.append((name, type(error).__name__ if error else version))  # noqa: E731
        return Change(("labels", "", target or name), rank, write, end)


@pytest.fixture
def written():
    return Written()


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setattr("csi_model.cluster.steering.writes._PAUSE", 0.01)
    made = []

    def make(*, may=lambda: True, bucket=None, threads=1, **how):
        writes = Writes(may, bucket or Bucket(1e6, 1000), threads=threads, **how)
        made.append(writes)
        return writes

    yield make
    for writes in made:
        writes.close(10)


@pytest.fixture
def writes(make):
    return make()


def test_the_urgent_ones_go_first(writes, written):
    for name, rank in (("a", Rank.ANNOTATION), ("s", Rank.STATUS), ("l", Rank.LABELS), ("o", Rank.ORDERS)):
        writes.put(written.change(name, rank))
    writes.start()
    assert writes.settle(10)
    assert written.order == ["l", "o", "s", "a"]
    assert written.ends[0] == ("l", 7)
    assert writes.counts() == {"labels": 4}


def test_of_what_waits_the_newest_is_written(writes, written):
    for name in ("old", "new"):
        writes.put(written.change(name, target="n1"))
    writes.start()
    assert writes.settle(10)
    assert written.order == ["new"]


def test_one_object_is_written_by_one_thread_at_a_time(make, written):
    writes = make(threads=4)
    writes.start()
    writes.put(written.change("first", held=True, target="n1"))
    assert written.entered.acquire(timeout=10)
    for name in ("second", "third"):
        writes.put(written.change(name, target="n1"))
    writes.put(written.change("other"))
    assert written.entered.acquire(timeout=10)
    assert written.order == ["first", "other"]
    written.gate.set()
    assert writes.settle(10)
    assert written.order == ["first", "other", "third"]


def test_what_fails_is_tried_again(writes, written):
    written.fail = {"a": [ApiUnavailable("x"), ApiUnavailable("x")]}
    writes.put(written.change("a"))
    writes.start()
    assert writes.settle(10)
    assert written.order == ["a"] * 3
    assert written.ends == [("a", 7)]


def test_what_fails_gives_way_to_what_is_newer(make, written):
    clock = Clock()
    writes = make(clock=clock)
    written.fail = {"old": [ApiUnavailable("x")] * 5}
    writes.put(written.change("old", target="n1"))
    writes.start()
    assert written.entered.acquire(timeout=10)
    writes.put(written.change("new", target="n1"))
    clock.now += 100
    writes.put(written.change("wakes them"))
    assert writes.settle(10)
    assert written.order.count("old") == 1
    assert "new" in written.order


@pytest.mark.parametrize("error", [ApiConflict, ApiRefused])
def test_what_is_refused_is_given_back(writes, written, error):
    written.fail = {"a": [error("x")]}
    writes.put(written.change("a"))
    writes.start()
    assert writes.settle(10)
    assert (written.order, written.ends) == (["a"], [("a", error.__name__)])


def test_nothing_is_written_by_who_may_not_and_who_decided_is_told(make, written):
    writes = make(may=lambda: False)
    writes.put(written.change("a"))
    writes.start()
    assert writes.settle(10)
    writes.close(10)
    assert (written.order, written.ends) == ([], [("a", "ApiConflict")])


def test_what_is_cleared_is_not_written(writes, written):
    writes.put(written.change("a"))
    assert writes.waiting == 1
    writes.clear()
    writes.start()
    assert writes.settle(10)
    assert written.order == []


def test_after_the_end_nothing_is_written(writes, written):
    writes.start()
    writes.close(10)
    writes.put(written.change("a"))
    assert written.order == []


def test_what_is_written_at_once_is_bounded_and_labels_have_a_reserve(make, written):
    clock = Clock()
    writes = make(bucket=Bucket(1, 5, clock), reserve=2, clock=clock)
    for number in range(5):
        writes.put(written.change(f"s{number}", Rank.STATUS))
    writes.start()
    for _ in range(3):
        assert written.entered.acquire(timeout=10)
    for number in range(2):
        writes.put(written.change(f"l{number}"))
        assert written.entered.acquire(timeout=10)
    assert written.order == ["s0", "s1", "s2", "l0", "l1"]
    assert writes.waiting == 2


def test_a_bucket_fills_as_time_goes_by():
    clock = Clock()
    bucket = Bucket(10, 3, clock)
    assert [bucket.take() for _ in range(3)] == [0, 0, 0]
    assert bucket.take() == pytest.approx(0.1)
    clock.now += 0.1
    assert bucket.take() == 0
    clock.now += 100
    assert [bucket.take() for _ in range(4)][:3] == [0, 0, 0]
    assert bucket.take(leave=1) == pytest.approx(0.2)


class TestAsked:
    TARGET = ("labels", "", "n1")

    @pytest.fixture(autouse=True)
    def asked(self):
        self.clock, self.puts = Clock(), []
        self.asked = Asked(self.puts.append, lambda _: None, clock=self.clock)

    def settle(self, now, due, version=0):
        return self.asked.settle(self.TARGET, Rank.LABELS, now, due, lambda: 0, version=version)

    def land(self, content, error=None, version=0):
        self.asked.land(Landed(self.TARGET, content, error, version))

    def test_what_is_there_is_not_asked_for(self):
        assert self.settle("x", "x")
        assert self.puts == []

    def test_what_is_on_its_way_is_not_asked_for_twice(self):
        assert [self.settle("x", "y"), self.settle("x", "y")] == [False, False]
        self.land("y")
        assert not self.settle("x", "y")
        assert len(self.puts) == 1
        assert self.settle("y", "y")

    def test_what_is_there_but_about_to_change_is_asked_for(self):
        self.settle("x", "y")
        assert not self.settle("x", "x")
        assert len(self.puts) == 2

    def test_what_is_never_seen_is_asked_for_again(self):
        self.settle("x", "y")
        self.land("y")
        self.clock.now += PATIENCE
        self.settle("x", "y")
        assert len(self.puts) == 2

    def test_what_waits_to_be_written_is_waited_for(self):
        self.settle("x", "y")
        self.clock.now += 100
        self.settle("x", "y")
        assert len(self.puts) == 1

    def test_a_newer_version_says_what_is_there_now(self):
        self.settle("x", "y", version=1)
        self.land("y", version=5)
        self.settle("x", "y", version=4)
        assert len(self.puts) == 1
        self.settle("x", "y", version=6)
        assert len(self.puts) == 2

    def test_what_was_refused_is_asked_for_when_somebody_looks(self):
        self.settle("x", "y")
        self.land("y", ApiConflict("x"))
        self.settle("x", "y")
        assert len(self.puts) == 2

    def test_the_end_of_what_was_replaced_is_no_news(self):
        self.settle("x", "y")
        self.settle("x", "z")
        self.land("y", ApiConflict("x"))
        self.settle("x", "z")
        assert len(self.puts) == 2
