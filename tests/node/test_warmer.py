import logging
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from csi_model.errors import InProgress, SourceChanged, StoreFull
from csi_model.transfer.engine import Engine
from tests.node.warming import PATIENCE, Bench, denied, like
from tests.transfer.bringing import begin, chunk_reads


def test_a_wanted_revision_is_staged(bench):
    warmup, started = bench.want()
    assert started
    assert warmup.wait("a", PATIENCE)
    assert bench.is_staged()


def test_a_revision_that_is_staged_already_needs_no_source(bench):
    bench.want()[0].wait("a", PATIENCE)
    assert bench.want("b", denied(bench.source))[0].wait("b", PATIENCE)


def test_however_many_want_it_at_once_there_is_one_warm_up(bench):
    stall, together = bench.source.stall_next(), threading.Barrier(20)

    def want(number):
        together.wait(PATIENCE)
        warmup, started = bench.want(f"volume-{number}")
        if number == 0:
            stall.released.set()
        return warmup.wait(f"volume-{number}", PATIENCE), started

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(want, range(20)))
    assert [done for done, _ in answers] == [True] * 20
    assert sum(started for _, started in answers) == 1
    assert chunk_reads(bench.source, "weights") == [0, 1, 2, 3, 4]


def test_it_outlives_the_call_that_waits(bench):
    stall = bench.source.stall_next()
    warmup, _ = bench.want()
    assert not warmup.wait("a", timeout=0)
    stall.released.set()
    assert warmup.wait("a", PATIENCE)


def test_progress_is_told_while_it_runs(bench):
    bench.source.serve_next(2)
    stall = bench.source.stall_next()
    bench.want()
    stall.reached.wait(PATIENCE)
    (running,) = bench.warmer.all()
    assert (running.progress().present, running.progress().total) == (2 * 65536, bench.manifest.size)


# who leaves, who comes back


def test_it_stops_after_the_last_one_left(hasty):
    stall = hasty.source.stall_next()
    warmup, _ = hasty.want()
    stall.reached.wait(PATIENCE)
    hasty.leave()
    with pytest.raises(InProgress, match="nobody wanted it"):
        warmup.wait("a", PATIENCE)
    assert hasty.warmer.find(hasty.manifest.digest) is None


def test_what_it_fetched_until_then_stays(hasty):
    hasty.source.serve_next(3)
    stall = hasty.source.stall_next()
    warmup, _ = hasty.want()
    stall.reached.wait(PATIENCE)
    hasty.leave()
    with pytest.raises(InProgress):
        warmup.wait("a", PATIENCE)
    hasty.source.reads.clear()
    hasty.want()[0].wait("a", PATIENCE)
    assert chunk_reads(hasty.source, "weights") == [3, 4]


def test_it_goes_on_while_anybody_wants_it(hasty):
    stall = hasty.source.stall_next()
    warmup, _ = hasty.want("a")
    hasty.want("b")
    stall.reached.wait(PATIENCE)
    hasty.leave("a")
    stall.released.set()
    assert warmup.wait("b", PATIENCE)


def test_one_who_leaves_twice_or_never_came_counts_once(hasty):
    stall = hasty.source.stall_next()
    warmup, _ = hasty.want("a")
    hasty.want("b")
    for volume in ("a", "a", "stranger"):
        hasty.leave(volume)
    stall.released.set()
    assert warmup.wait("b", PATIENCE)


def test_whoever_comes_back_within_the_grace_finds_it_going_on(bench):
    stall = bench.source.stall_next()
    before, _ = bench.want("a")
    stall.reached.wait(PATIENCE)
    bench.leave("a")
    after, started = bench.want("b")
    assert (after is before, started) == (True, False)
    stall.released.set()
    assert after.wait("b", PATIENCE)


def test_a_grace_that_ended_late_does_not_stop_what_is_wanted_again(bench):
    stall = bench.source.stall_next()
    warmup, _ = bench.want("a")
    bench.leave("a")
    bench.want("b")
    warmup._stop_if_unwanted()  # as a timer does that had fired already and waited for its turn
    stall.released.set()
    assert warmup.wait("b", PATIENCE)


def test_whoever_comes_back_while_nobodys_rights_are_left_is_noticed_at_once(bench):
    gate, waiting = threading.Event(), threading.Event()

    def open_poor():
        gate.wait(PATIENCE)
        return denied(bench.source)

    warmup, _ = bench.warmer.want(bench.manifest, "a", open_poor, urgent=False)
    bench.leave("a")
    real = warmup._changed.wait
    warmup._changed.wait = lambda timeout=None: waiting.set() or real(timeout)
    gate.set()
    assert waiting.wait(PATIENCE)
    again, started = bench.want("b")
    assert (again is warmup, started) == (True, False)
    assert again.wait("b", PATIENCE)


def test_whoever_comes_after_it_was_told_to_stop_starts_a_new_one(bench):
    stall = bench.source.stall_next()
    old, _ = bench.want("a")
    stall.reached.wait(PATIENCE)
    bench.leave("a")
    old.cancel()
    other = like(bench.source)
    new, started = bench.want("b", other)
    assert started
    assert new.wait("b", PATIENCE)
    with pytest.raises(InProgress):
        old.wait("a", PATIENCE)


def test_an_old_warm_up_that_ends_late_leaves_the_new_one_alone(bench, monkeypatch):
    old_is_ending, go_on = threading.Event(), threading.Event()
    stall = bench.source.stall_next()
    old, _ = bench.want("a")
    stall.reached.wait(PATIENCE)
    real = bench.warmer._report

    def report(warmup, error):
        real(warmup, error)
        if warmup is old:
            old_is_ending.set()
            go_on.wait(PATIENCE)

    monkeypatch.setattr(bench.warmer, "_report", report)
    old.cancel()
    old_is_ending.wait(PATIENCE)
    again = like(bench.source)
    stall_again = again.stall_next()
    new, _ = bench.want("b", again)
    stall_again.reached.wait(PATIENCE)
    go_on.set()
    with pytest.raises(InProgress):
        old.wait("a", PATIENCE)
    assert bench.warmer.find(bench.manifest.digest) is new
    stall_again.released.set()
    assert new.wait("b", PATIENCE)


# what fails for all


@pytest.mark.parametrize("error", [SourceChanged("overwritten"), StoreFull("no room")])
def test_an_error_that_is_nobodys_own_reaches_everybody_who_waits(bench, error):
    stall = bench.source.stall_next()
    bench.source.fail_next(error)
    warmup, _ = bench.want("a")
    stall.reached.wait(PATIENCE)
    bench.want("b")
    waiting = [begin(warmup.wait, volume, PATIENCE) for volume in ("a", "b")]
    stall.released.set()
    for answer in waiting:
        with pytest.raises(type(error)):
            answer.result(PATIENCE)


def test_after_a_failure_the_next_call_starts_anew(bench):
    bench.source.fail_next(SourceChanged("overwritten"))
    warmup, _ = bench.want()
    with pytest.raises(SourceChanged):
        warmup.wait("a", PATIENCE)
    again, started = bench.want()
    assert started
    assert again.wait("a", PATIENCE)


def test_a_bug_reaches_those_who_wait_and_the_log_with_its_trace(bench, caplog):
    bench.source.fail_next(ZeroDivisionError("a bug"))
    with caplog.at_level(logging.WARNING):
        warmup, _ = bench.want()
        with pytest.raises(ZeroDivisionError):
            warmup.wait("a", PATIENCE)
    assert "Traceback" in caplog.text


def test_an_error_of_the_world_is_logged_without_a_trace(bench, caplog):
    bench.source.fail_next(SourceChanged("overwritten"))
    with pytest.raises(SourceChanged):
        bench.want()[0].wait("a", PATIENCE)
    assert ("overwritten" in caplog.text, "Traceback" in caplog.text) == (True, False)


def test_a_file_that_was_found_damaged_meanwhile_is_fetched_again(bench, monkeypatch):
    real, once = bench.store.assemble, iter([True])

    def assemble(manifest):
        if next(once, False):
            (entry,) = [entry for entry in manifest.entries if entry.path == "weights"]
            bench.store.retention.condemn(manifest.digest, [bench.store.find(manifest.origin, entry)])
        return real(manifest)

    monkeypatch.setattr(bench.store, "assemble", assemble)
    assert bench.want()[0].wait("a", PATIENCE)
    assert chunk_reads(bench.source, "weights") == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


# the end


def test_closing_stops_everything_and_tells_those_who_wait(bench):
    stall = bench.source.stall_next()
    warmup, _ = bench.want()
    waiting = begin(warmup.wait, "a", PATIENCE)
    stall.reached.wait(PATIENCE)
    bench.warmer.close()
    with pytest.raises(InProgress, match="agent is stopping"):
        waiting.result(PATIENCE)
    assert bench.warmer.all() == []


def test_closing_does_not_wait_for_a_grace(bench):
    gate, entered = threading.Event(), threading.Event()

    def open_poor():
        entered.set()
        gate.wait(PATIENCE)
        return denied(bench.source)

    bench.warmer.want(bench.manifest, "a", open_poor, urgent=False)
    entered.wait(PATIENCE)
    bench.leave("a")
    gate.set()
    begin(bench.warmer.close).result(PATIENCE)


def test_after_closing_nothing_begins(bench):
    bench.warmer.close()
    with pytest.raises(InProgress, match="stopping"):
        bench.want()


def test_closing_twice_is_no_error(bench):
    bench.want()
    bench.warmer.close()
    bench.warmer.close()


class Unstartable(threading.Thread):
    def start(self):
        raise RuntimeError("can't start new thread")


def test_a_warm_up_without_a_thread_is_not_joined_by_anybody(bench, monkeypatch):
    with monkeypatch.context() as exhausted:
        exhausted.setattr("csi_model.node.warmer.threading.Thread", Unstartable)
        with pytest.raises(RuntimeError):
            bench.want()
    assert bench.want()[0].wait("a", PATIENCE)


@pytest.mark.parametrize("seed", range(5))
def test_coming_and_going_of_many_ends_with_a_staged_revision(tmp_path, small_chunks, seed):
    bench = Bench(tmp_path / "store", grace=0.0, engine=Engine)
    together = threading.Barrier(6)

    def volume(number):
        chosen = random.Random(f"{seed}/{number}")
        together.wait(PATIENCE)
        for _ in range(chosen.randrange(12)):
            bench.want(f"volume-{number}", like(bench.source))
            if chosen.random() < 0.8:
                bench.leave(f"volume-{number}")
        while True:
            try:
                return bench.want(f"volume-{number}", like(bench.source))[0].wait(f"volume-{number}", PATIENCE)
            except InProgress:
                continue  # it came just when the last one was being stopped: kubelet calls again, too

    answers = [begin(volume, number) for number in range(6)]
    assert [answer.result(PATIENCE) for answer in answers] == [True] * 6
    assert bench.is_staged()
    bench.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("warm-up", "span"))]
