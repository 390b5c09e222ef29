import threading

import pytest

from csi_model.errors import InProgress
from csi_model.node import locks
from csi_model.node.locks import VolumeLocks
from tests.transfer.bringing import PATIENCE, begin


def test_one_call_at_a_time_per_volume():
    volumes, inside, most = VolumeLocks(), [], []

    def call():
        with volumes.of("a"):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    for answer in [begin(call) for _ in range(20)]:
        answer.result(PATIENCE)
    assert (len(most), set(most)) == (20, {1})


def test_other_volumes_do_not_wait():
    volumes = VolumeLocks()
    with volumes.of("a"), volumes.of("b"):
        pass


def test_a_lock_is_free_again_after_an_error():
    volumes = VolumeLocks()
    with pytest.raises(ZeroDivisionError), volumes.of("a"):
        raise ZeroDivisionError
    with volumes.of("a"):
        pass


def test_whoever_waits_too_long_is_told_to_come_again(monkeypatch):
    monkeypatch.setattr(locks, "_PATIENCE", 0.0)
    volumes = VolumeLocks()

    def call():
        with volumes.of("a"):
            pass

    with volumes.of("a"), pytest.raises(InProgress, match="volume a is still running"):
        begin(call).result(PATIENCE)
    call()


def test_whoever_waits_gets_its_turn():
    volumes, entered = VolumeLocks(), threading.Event()

    def call():
        with volumes.of("a"):
            entered.set()

    with volumes.of("a"):
        answer = begin(call)
        assert not entered.is_set()
    answer.result(PATIENCE)


def test_locks_that_nobody_uses_are_forgotten():
    volumes = VolumeLocks()
    for number in range(100):
        with volumes.of(f"volume-{number}"):
            pass
    assert not volumes._locks
