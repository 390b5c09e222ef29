import threading

import pytest

from csi_model.transfer.buffers import Buffers
from tests.transfer.bringing import within

SIZE = 4096


def never():
    return False


def test_a_pool_gives_as_many_buffers_as_it_has():
    pool = Buffers(2, SIZE)
    assert [len(pool.take(never)), len(pool.take(never))] == [SIZE, SIZE]
    assert pool.take(lambda: True) is None


def test_the_buffer_used_last_comes_first():
    pool = Buffers(2, SIZE)
    first, second = pool.take(never), pool.take(never)
    pool.give_back(first)
    pool.give_back(second)
    assert pool.take(never) is second


def test_whoever_waits_gets_the_next_buffer_that_comes_back():
    pool = Buffers(1, SIZE)
    buffer = pool.take(never)
    asked = threading.Event()

    def given_up():
        asked.set()
        return False

    def give_back_when_somebody_waits():
        asked.wait()
        pool.give_back(buffer)

    helper = threading.Thread(target=give_back_when_somebody_waits)
    helper.start()
    assert within(pool.take, given_up) is buffer
    helper.join()


def test_waiting_ends_when_it_is_given_up():
    pool = Buffers(1, SIZE)
    pool.take(never)
    stop = threading.Event()

    def given_up():
        stop.set()
        return stop.is_set()

    assert within(pool.take, given_up) is None


def test_a_buffer_that_could_not_be_made_is_not_lost(monkeypatch):
    pool = Buffers(1, SIZE)
    with monkeypatch.context() as broken:
        broken.setattr("mmap.mmap", lambda *_, **__: (_ for _ in ()).throw(OSError("no memory")))
        with pytest.raises(OSError, match="no memory"):
            pool.take(never)
    assert pool.take(lambda: True) is not None


def test_trimming_keeps_free_buffers_usable_and_clean():
    pool = Buffers(1, SIZE)
    buffer = pool.take(never)
    buffer[:4] = b"used"
    pool.give_back(buffer)
    pool.trim()
    assert pool.take(never)[:4] == bytes(4)
