import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.transfer.buffers import Buffers

SIZE, LARGE = 4096, 16384


@pytest.fixture
def no_memory(monkeypatch):
    """Call it, and the machine has no more memory to give."""

    def fail(*_, **__):
        raise OSError("no memory")

    return lambda: monkeypatch.setattr("os.memfd_create", fail)


def test_a_pool_gives_what_its_budget_has_room_for():
    pool = Buffers(2 * SIZE)
    assert [len(pool.try_take(SIZE)), len(pool.try_take(SIZE))] == [SIZE, SIZE]
    assert pool.try_take(SIZE) is None


def test_a_buffer_that_came_back_can_be_taken_again():
    pool = Buffers(SIZE)
    buffer = pool.try_take(SIZE)
    pool.give_back(buffer)
    assert pool.try_take(SIZE) is buffer


def test_the_buffer_used_last_comes_first():
    pool = Buffers(2 * SIZE)
    first, second = pool.try_take(SIZE), pool.try_take(SIZE)
    pool.give_back(first)
    pool.give_back(second)
    assert pool.try_take(SIZE) is second


def test_a_free_buffer_of_another_size_makes_room():
    pool = Buffers(LARGE)
    for buffer in [pool.try_take(SIZE) for _ in range(4)]:
        pool.give_back(buffer)
    assert len(pool.try_take(LARGE)) == LARGE
    assert pool.try_take(SIZE) is None


def test_a_taken_buffer_of_another_size_does_not():
    pool = Buffers(LARGE)
    small = pool.try_take(SIZE)
    assert pool.try_take(LARGE) is None
    pool.give_back(small)
    assert pool.try_take(LARGE) is not None


@given(
    budget=st.integers(1, 12),
    steps=st.lists(st.tuples(st.sampled_from([1, 4]), st.booleans()), max_size=60),
    seed=st.integers(),
)
def test_the_budget_is_never_exceeded_and_nothing_is_lost(budget, steps, seed):
    pool, taken, choice = Buffers(budget * SIZE), [], random.Random(seed)
    for size, give in steps:
        if give and taken:
            pool.give_back(taken.pop(choice.randrange(len(taken))))
            continue
        room = budget * SIZE - sum(map(len, taken))
        buffer = pool.try_take(size * SIZE)
        assert (buffer is not None) == (room >= size * SIZE)
        taken += [buffer] if buffer is not None else []
        assert pool.in_use() == sum(map(len, taken)) <= budget * SIZE
    assert len({id(buffer) for buffer in taken}) == len(taken)


def test_threads_never_share_a_buffer():
    pool, taken, doubles = Buffers(3 * SIZE), set(), []

    def churn():
        for _ in range(500):
            buffer = pool.try_take(SIZE)
            if buffer is not None:
                doubles.extend([buffer] if id(buffer) in taken else [])
                taken.add(id(buffer))
                taken.discard(id(buffer))
                pool.give_back(buffer)

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not doubles
    assert pool.in_use() == 0


def test_a_buffer_that_could_not_be_made_is_not_counted(no_memory, monkeypatch):
    pool = Buffers(SIZE)
    no_memory()
    assert pool.try_take(SIZE) is None
    monkeypatch.undo()
    assert pool.try_take(SIZE) is not None


def test_a_machine_without_memory_still_has_the_free_buffers(no_memory):
    pool = Buffers(2 * SIZE)
    buffer = pool.try_take(SIZE)
    no_memory()
    assert pool.try_take(SIZE) is None
    pool.give_back(buffer)
    assert pool.try_take(SIZE) is buffer


def test_trimming_gives_the_memory_of_free_buffers_back():
    pool = Buffers(2 * SIZE)
    free, taken = pool.try_take(SIZE), pool.try_take(SIZE)
    taken[:4] = b"used"
    pool.give_back(free)
    pool.trim()
    assert free.closed
    assert (taken[:4], pool.in_use()) == (b"used", SIZE)
    assert pool.try_take(SIZE)[:4] == bytes(4)


def test_a_buffer_that_a_view_still_shows_does_not_hinder_the_trimming():
    pool = Buffers(SIZE)
    buffer = pool.try_take(SIZE)
    with memoryview(buffer):
        pool.give_back(buffer)
        pool.trim()
        assert pool.try_take(SIZE) is not buffer
