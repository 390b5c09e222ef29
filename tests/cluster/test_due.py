import threading

import pytest

from csi_model.cluster.due import Due
from tests.fakes.clock import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def due(clock):
    return Due(clock)


def taken(due, count):
    return [due.take() for _ in range(count)]


def test_names_come_in_the_order_they_became_due(due, clock):
    for name in "abc":
        due.add(name)
        clock.now += 1
    assert taken(due, 3) == ["a", "b", "c"]


def test_a_name_that_is_added_twice_comes_once(due):
    for name in "aab":
        due.add(name)
    assert taken(due, 2) == ["a", "b"]


def test_a_name_that_is_added_while_it_is_worked_on_comes_again_after_that(due):
    due.add("a")
    due.take()
    due.add("a")
    due.add("b")
    assert due.take() == "b"
    due.done("a")
    assert due.take() == "a"


def test_what_failed_comes_later_and_later(due, clock):
    due.add("a")
    waits = []
    for _ in range(12):
        due.take()
        due.failed("a")
        waits.append(due._until_next())
        clock.now += 1000
    assert 0.5 <= waits[0] <= 1
    assert 16 <= waits[5] <= 32
    assert 150 <= waits[11] <= 300


def test_what_was_done_begins_anew(due, clock):
    due.add("a")
    for end in (due.failed, due.failed, due.done):
        due.take()
        end("a")
        clock.now += 1000
        due.add("a")
    due.take()
    due.failed("a")
    assert due._until_next() <= 1


def test_news_of_what_failed_are_looked_at_at_once(due):
    due.add("a")
    due.take()
    due.failed("a")
    due.add("a")
    assert due.take() == "a"


def test_closing_lets_the_workers_go(due):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(due.take())) for _ in range(3)]
    for thread in threads:
        thread.start()
    due.close()
    for thread in threads:
        thread.join()
    assert answers == [None] * 3


def test_what_is_not_due_is_waited_for():
    due = Due()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(due.take()))
    thread.start()
    due.add("a")
    thread.join()
    assert answers == ["a"]
