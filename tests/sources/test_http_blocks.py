"""One answer in several views, and what becomes of its connection: kept, dropped, too slow, or cut off by others."""

import threading
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.errors import SourceDenied, SourceUnavailable
from csi_model.sources import http
from csi_model.sources.base import Abort
from csi_model.sources.http import Target, read_range
from csi_model.sources.http_connection import HttpLimits
from csi_model.sources.http_pool import HttpPool
from tests.contracts.source_contract import blocks_of
from tests.fakes import misbehaving_server as bad
from tests.fakes.misbehaving_server import MisbehavingServer
from tests.sources.certificates import make_certificate

PATIENCE = 30.0


@pytest.fixture
def pool():
    pool = HttpPool()
    yield pool
    assert not pool._leased
    pool.close()


@pytest.fixture(scope="module")
def steady():
    """A server and a pool for examples by the dozen."""
    pool = HttpPool()
    with MisbehavingServer() as server:
        yield server, pool
        pool.close()


@contextmanager
def pool_with(**limits):
    pool = HttpPool(limits=HttpLimits(**limits))
    yield pool
    assert not pool._leased
    pool.close()


def blocks(server, pool, *lengths, start=0, abort=None):
    """Begin a read into views of such lengths, side by side."""
    views = blocks_of(memoryview(bytearray(sum(lengths))), *lengths)
    return read_range(pool, Target(f"{server.url}/a", len(server.body)), start, views, abort)


def until_error(reading):
    """Give the bytes that come before the error, and the error."""
    got = []
    with pytest.raises(SourceUnavailable) as caught:
        got.extend(bytes(view) for view in reading)
    return b"".join(got), str(caught.value)


@given(lengths=st.lists(st.integers(1, 900), min_size=1, max_size=4), start=st.integers(0, 400))
def test_a_range_is_the_same_however_it_is_cut(steady, lengths, start):
    server, pool = steady
    got = [bytes(view) for view in blocks(server, pool, *lengths, start=start)]
    assert [len(piece) for piece in got] == lengths
    assert b"".join(got) == server.body[start : start + sum(lengths)]
    assert server.connections == 1


def test_several_views_are_one_request(pool):
    with MisbehavingServer() as server:
        assert [len(view) for view in blocks(server, pool, 100, 200, 300, start=7)] == [100, 200, 300]
        assert [bad.asked(head) for head in server.requests] == [(7, 607)]


def test_nothing_is_asked_before_the_first_view_is_wanted(pool):
    with MisbehavingServer() as server:
        blocks(server, pool, 100).close()
        assert server.connections == 0


def test_an_answer_that_was_left_early_costs_its_connection(pool):
    with MisbehavingServer() as server:
        with closing(blocks(server, pool, 100, 100)) as reading:
            next(reading)
        assert [bytes(view) for view in blocks(server, pool, 100, start=50)] == [server.body[50:150]]
        assert server.connections == 2


def test_an_error_of_whoever_takes_the_bytes_costs_the_connection(pool):
    with MisbehavingServer() as server, closing(blocks(server, pool, 100, 100)) as reading:
        next(reading)
        with pytest.raises(ValueError, match="disk"):
            reading.throw(ValueError("disk"))
        assert not pool._leased
        assert not any(pool._idle.values())


def test_a_refusal_comes_before_any_view(pool):
    with MisbehavingServer(bad.status(403)) as server, pytest.raises(SourceDenied):
        next(blocks(server, pool, 100, 100))


def test_what_came_before_a_truncation_is_right(pool):
    with MisbehavingServer(bad.truncate(250)) as server:
        assert until_error(blocks(server, pool, 100, 100, 100))[0] == server.body[:200]


def test_what_came_before_a_reset_is_right(pool):
    received = threading.Event()

    def and_tell(reading):
        for number, view in enumerate(reading):
            yield view
            if number == 1:
                received.set()

    with MisbehavingServer(bad.reset_within(received, after=200)) as server:
        assert until_error(and_tell(blocks(server, pool, 100, 100, 100)))[0] == server.body[:200]


def test_what_came_before_a_stall_is_right():
    released = threading.Event()
    with pool_with(silence=0.05) as pool, MisbehavingServer(bad.stall(released, after=250)) as server:
        got, words = until_error(blocks(server, pool, 100, 100, 100))
        released.set()
        assert got == server.body[:200]
        assert "stalled" in words


def test_a_trickle_is_found_also_where_each_view_is_soon_full():
    released = threading.Event()
    limits = pool_with(slow_window=0.05, slow_rate=1000.0)
    with limits as pool, MisbehavingServer(bad.trickle(released)) as server:
        assert "slower than" in until_error(blocks(server, pool, *[1] * 1000))[1]
        released.set()


def test_a_quick_beginning_does_not_excuse_a_trickle():
    released = threading.Event()
    limits = pool_with(slow_window=0.05, slow_rate=1000.0)
    with limits as pool, MisbehavingServer(bad.trickle(released, after=4000)) as server:
        assert "slower than" in until_error(blocks(server, pool, 4096))[1]
        released.set()


def test_time_that_the_caller_takes_is_not_the_servers(pool, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(http, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with MisbehavingServer() as server:
        for _ in blocks(server, pool, *[100] * 10):
            clock.now += 10 * pool.limits.slow_window
        assert server.connections == 1


def abort_from_elsewhere(abort, reached):
    """Abort once the server has been reached; the thread to join."""

    def run():
        reached.wait(PATIENCE)
        abort()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def cut_off(server, pool, released, reached, **waiting):
    """Read until another thread cuts it off; gives what came and what was said."""
    abort = Abort()
    thread = abort_from_elsewhere(abort, reached)
    try:
        return until_error(blocks(server, pool, 100, 100, 100, abort=abort, **waiting))
    finally:
        released.set()
        thread.join()


def test_an_abort_ends_a_read_that_waits_for_bytes():
    released, arrived = threading.Event(), threading.Event()
    abort = Abort()

    def watched(reading):
        for number, view in enumerate(reading):
            yield view
            if number == 1:
                arrived.set()

    with pool_with(silence=PATIENCE) as pool, MisbehavingServer(bad.stall(released, after=250)) as server:
        thread = abort_from_elsewhere(abort, arrived)
        assert until_error(watched(blocks(server, pool, 100, 100, 100, abort=abort)))[0] == server.body[:200]
        assert not released.is_set()
        released.set()
        thread.join()


def test_an_abort_ends_a_read_whose_connection_is_to_be_closed_anyway(pool):
    released, abort = threading.Event(), Abort()
    with MisbehavingServer(bad.stall(released, after=150, Connection="close")) as server:
        reading = blocks(server, pool, 100, 100, abort=abort)
        next(reading)
        abort()
        assert until_error(reading)[0] == b""
        released.set()


def test_an_abort_just_as_the_read_ends_does_not_hit_its_kept_connection(pool, monkeypatch):
    abort, give_back = Abort(), pool.give_back
    monkeypatch.setattr(pool, "give_back", lambda connection: abort() or give_back(connection))
    with MisbehavingServer() as server:
        for _ in range(2):
            assert len(list(blocks(server, pool, 50, abort=abort))) == 1
        assert server.connections == 1


def test_a_connection_that_the_server_means_to_close_is_not_kept(pool):
    with MisbehavingServer(bad.serve_with(Connection="close")) as server:
        for _ in range(2):
            assert len(list(blocks(server, pool, 50))) == 1
        assert server.connections == 2
        assert not any(pool._idle.values())


def test_an_abort_ends_a_read_over_tls_with_nothing_but_true_bytes(tmp_path):
    public, tls = make_certificate(tmp_path)
    pool, abort, body = HttpPool(public), Abort(), bytes(range(256)) * 512
    with MisbehavingServer(body=body, tls=tls) as server:
        reading = blocks(server, pool, *[1000] * 131, abort=abort)
        first = bytes(next(reading))
        abort()
        got, _ = until_error(reading)
        assert body.startswith(first + got)
        pool.close()


def test_an_abort_ends_a_stalled_read_over_tls(tmp_path):
    public, tls = make_certificate(tmp_path)
    released, pool, abort = threading.Event(), HttpPool(public), Abort()
    with MisbehavingServer(bad.stall(released, after=150), tls=tls) as server:
        reading = blocks(server, pool, 100, 100, abort=abort)
        assert bytes(next(reading)) == server.body[:100]
        go = threading.Event()
        thread = abort_from_elsewhere(abort, go)
        go.set()
        assert until_error(reading)[0] == b""
        released.set()
        thread.join()
        pool.close()


def test_an_abort_ends_a_wait_for_an_answer(pool):
    released, reached = threading.Event(), threading.Event()
    with MisbehavingServer(bad.hang(released, reached)) as server:
        assert cut_off(server, pool, released, reached)[0] == b""


def test_an_abort_ends_a_wait_for_an_answer_also_on_a_kept_connection(pool):
    released, reached = threading.Event(), threading.Event()
    with MisbehavingServer(bad.serve, bad.hang(released, reached)) as server:
        list(blocks(server, pool, 100))
        assert cut_off(server, pool, released, reached)[0] == b""
        assert server.connections == 1


def test_an_abort_while_the_caller_works_ends_the_read_at_the_next_view(pool):
    released, abort = threading.Event(), Abort()
    with MisbehavingServer(bad.stall(released, after=150)) as server:
        reading = blocks(server, pool, 100, 100, abort=abort)
        next(reading)
        abort()
        assert until_error(reading)[0] == b""
        released.set()


def test_an_abort_after_the_read_does_not_hit_its_kept_connection(pool):
    abort = Abort()
    with MisbehavingServer() as server:
        for start in range(3):
            assert [bytes(v) for v in blocks(server, pool, 50, start=start, abort=abort)] == [
                server.body[start : start + 50]
            ]
            abort()
        assert server.connections == 1


def test_a_read_goes_on_over_a_new_connection_after_an_abort(pool):
    released, reached, abort = threading.Event(), threading.Event(), Abort()
    with MisbehavingServer(bad.stall(released, reached=reached), bad.serve) as server:
        thread = abort_from_elsewhere(abort, reached)
        until_error(blocks(server, pool, 100, abort=abort))
        thread.join()
        assert [bytes(view) for view in blocks(server, pool, 100, abort=abort)] == [server.body[:100]]
        released.set()
