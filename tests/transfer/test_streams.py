"""The node's streams: who gets them, how many there are, and what they do without memory."""

import threading
from types import SimpleNamespace

import pytest

from csi_model.transfer import streams as module
from tests.transfer.bringing import PATIENCE, SMALL_CHUNK, begin
from tests.transfer.lanes import field_of, running

pytestmark = pytest.mark.usefixtures("small_chunks")
QUARTER = SMALL_CHUNK // 4


def test_as_many_jobs_run_at_once_as_there_are_streams():
    field = field_of(4)
    lane = field.lane(jobs=9)
    with field.serving(lane):
        field.wait_until(lambda: lane.running == 4)
        lane.let_end(9)
        field.wait_until(lambda: lane.done == 9)
    assert lane.most == 4


def test_lanes_that_are_equal_share_the_streams_evenly():
    field = field_of(8)
    first, second = field.lane(), field.lane()
    with field.serving(first, second):
        field.wait_until(lambda: running(first, second) == 8)
        assert (first.running, second.running) == (4, 4)


@pytest.mark.parametrize(("streams", "urgents"), [(18, 16), (9, 8), (8, 7), (4, 3), (2, 1)])
def test_an_urgent_lane_gets_most_streams_and_leaves_some(streams, urgents):
    field = field_of(streams)
    background, urgent = field.lane(), field.lane(urgent=True)
    with field.serving(background, urgent):
        field.wait_until(lambda: running(background, urgent) == streams)
        assert (urgent.running, background.running) == (urgents, streams - urgents)


def test_a_lane_that_is_alone_gets_all():
    field = field_of(8)
    background = field.lane()
    with field.serving(background, field.lane(urgent=True, jobs=0)):
        field.wait_until(lambda: background.running == 8)


def test_a_lane_that_becomes_urgent_gets_the_next_turns():
    field = field_of(4)
    first, second = field.lane("first"), field.lane("second")
    with field.serving(first, second):
        field.wait_until(lambda: running(first, second) == 4)
        second.urgent = True
        first.let_end(1)
        field.wait_until(lambda: second.running == 3)
        assert first.running == 1


def test_more_lanes_than_streams_take_turns():
    field = field_of(1)
    lanes = [field.lane(name, jobs=3, ends=True) for name in "abcde"]
    with field.serving(*lanes):
        field.wait_until(lambda: sum(lane.done for lane in lanes) == 15)
    assert "".join(field.taken) == "abcde" * 3


def test_background_lanes_beside_an_urgent_one_take_turns():
    field = field_of(4)
    lanes = {"a": field.lane("a"), "b": field.lane("b"), "urgent": field.lane("urgent", urgent=True)}
    with field.serving(*lanes.values()):
        for ended in range(7):
            field.wait_until(lambda ended=ended: len(field.taken) == 4 + ended and running(*lanes.values()) == 4)
            assert lanes["urgent"].running >= 3
            lanes[field.taken[-1]].let_end(1)
    assert field.taken[4:10].count("a") == field.taken[4:10].count("b") == 2


def test_new_jobs_are_taken_when_the_lane_says_so():
    field = field_of(2)
    lane = field.lane(jobs=0)
    with field.serving(lane):
        lane.jobs = 1
        field.streams.wake()
        field.wait_until(lambda: lane.running == 1)


def test_whoever_stops_serving_has_no_job_running():
    field, ending = field_of(2), threading.Event()
    lane = field.lane(jobs=2)

    def serve():
        with field.streams.serving(lane):
            field.is_open = True
            field.streams.wake()
            field.wait_until(lambda: lane.running == 2)
            ending.set()
        return lane.done

    done = begin(serve)
    assert ending.wait(PATIENCE)
    lane.let_end(2)
    assert done.result(PATIENCE) == 2


def test_without_a_lane_all_threads_end_and_memory_goes_back():
    field = field_of(4)
    lane = field.lane(size=QUARTER)
    with field.serving(lane):
        field.wait_until(lambda: lane.running == 4)
    for thread in field.threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in field.threads)
    assert all(buffer.closed for buffer in lane.buffers)


def test_a_lane_that_comes_later_gets_new_threads():
    field = field_of(2)
    with field.serving(field.lane(jobs=0)):
        pass
    for thread in field.threads:
        thread.join(PATIENCE)
    lane = field.lane()
    with field.serving(lane):
        field.wait_until(lambda: lane.running == 2)


def test_a_lane_waits_for_memory_and_goes_on_when_some_comes_back():
    field = field_of(4, buffer_bytes=2 * SMALL_CHUNK)
    lane = field.lane(jobs=3, size=SMALL_CHUNK, ends=True, keeps_buffers=True)
    with field.serving(lane):
        field.wait_until(lambda: lane.done == 2)
        assert (lane.jobs, field.streams.buffers.in_use()) == (1, 2 * SMALL_CHUNK)
        field.streams.give_back(lane.buffers[0])
        field.wait_until(lambda: lane.done == 3)


def test_a_machine_short_of_memory_goes_on_with_the_buffers_it_has(monkeypatch):
    field = field_of(4)
    lane = field.lane(jobs=6, size=QUARTER)
    field.streams.buffers.give_back(field.streams.buffers.try_take(QUARTER))

    def fail(*_, **__):
        raise OSError("no memory")

    monkeypatch.setattr("os.memfd_create", fail)
    with field.serving(lane):
        field.wait_until(lambda: lane.running == 1)
        looks = lane.looks
        field.wait_until(lambda: lane.looks >= looks + 2)
        assert lane.running == 1
        lane.let_end(6)
        field.wait_until(lambda: lane.done == 6)


def test_small_wants_do_not_take_the_memory_away_that_a_large_one_waits_for():
    field = field_of(1, buffer_bytes=SMALL_CHUNK)
    small = field.lane("small", jobs=4, size=QUARTER, ends=True, keeps_buffers=True)
    large = field.lane("large", jobs=0, size=SMALL_CHUNK, ends=True)
    with field.serving(small, large):
        field.wait_until(lambda: small.done == 4)
        small.keeps_buffers = False
        small.jobs = large.jobs = 1
        small.let_end(1)
        large.let_end(1)
        for buffer in small.buffers[:3]:
            field.streams.give_back(buffer)
        looks = large.looks
        field.wait_until(lambda: large.looks >= looks + 2)
        field.streams.give_back(small.buffers[3])
        field.wait_until(lambda: large.done == 1 and small.done == 5)
    assert field.taken[4:] == ["large", "small"]


def test_jobs_without_a_buffer_need_no_memory():
    field = field_of(2, buffer_bytes=SMALL_CHUNK)
    lane = field.lane()
    assert field.streams.buffers.try_take(SMALL_CHUNK) is not None
    with field.serving(lane):
        field.wait_until(lambda: lane.running == 2)


def test_fewer_streams_run_once_the_source_asked_to_slow_down():
    field = field_of(4)
    lane = field.lane()
    with field.serving(lane):
        field.wait_until(lambda: lane.running == 4)
        field.streams.slow_down()
        assert field.streams.limit == 2
        lane.let_end(2)
        field.wait_until(lambda: lane.done == 2)
        lane.most = lane.running
        lane.let_end(10)
        field.wait_until(lambda: lane.done == 12 and lane.running == 2)
    assert lane.most == 2


def test_more_streams_run_when_the_tuner_wants_to_try(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    field = field_of(4, streams_most=8)
    lane = field.lane()
    with field.serving(lane):
        field.wait_until(lambda: lane.running == 4)
        while field.streams.limit == 4:
            clock.now += 0.1
            field.streams.received(1_000_000)
        field.wait_until(lambda: lane.running == field.streams.limit)
        assert lane.running == 5


class _Reluctant(threading.Thread):
    """A thread of a machine that has only so many."""

    left = 0

    def start(self):
        if not _Reluctant.left:
            raise RuntimeError("can't start new thread")
        _Reluctant.left -= 1
        super().start()


def test_fewer_threads_than_streams_do_the_work_too(monkeypatch):
    field = field_of(4)
    lane = field.lane(jobs=3, ends=True)
    _Reluctant.left = 2
    monkeypatch.setattr(module.threading, "Thread", _Reluctant)
    with field.serving(lane):
        field.wait_until(lambda: lane.done == 3)


def test_a_machine_without_a_single_thread_says_so_and_forgets_the_lane(monkeypatch):
    field = field_of(4)
    _Reluctant.left = 0
    monkeypatch.setattr(module.threading, "Thread", _Reluctant)
    with pytest.raises(RuntimeError, match="can't start"), field.streams.serving(field.lane()):
        pass
    assert not field.streams._active
