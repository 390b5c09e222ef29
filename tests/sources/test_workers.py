"""Reads over TLS that another process does: nobody can tell, and memory is never touched after their end."""

import os
import random
import select
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from csi_model.errors import SourceChanged, SourceError, SourceUnavailable
from csi_model.sources.base import Abort
from csi_model.sources.http import Target, read_range
from csi_model.sources.http_connection import HttpLimits
from csi_model.sources.http_pool import HttpPool
from csi_model.sources.shared import SharedBuffer
from csi_model.sources.workers import Workers
from tests.fakes import misbehaving_server as bad
from tests.fakes.misbehaving_server import MisbehavingServer
from tests.sources.certificates import make_certificate

BODY = random.Random(1).randbytes(1_000_000)
BLOCK = 100_000
SIGNED = "/models/a?X-Amz-Signature=topsecret"
PATIENCE = 30.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def workers():
    with closing(Workers(2, 2, patience=1)) as workers:
        yield workers


@pytest.fixture
def pool(certificate, workers):
    with closing(HttpPool(certificate[0], workers=workers)) as pool:
        yield pool


@pytest.fixture
def serve(certificate):
    return lambda *script: MisbehavingServer(*script, body=BODY, tls=certificate[1])


@pytest.fixture
def buffer():
    return SharedBuffer(BLOCK)  # closed when the last view of it goes: an error that was caught may hold some


def blocks(pool, server, memory, *, abort=None, **more):
    """Begin to read the whole body, block by block, each into the same memory."""
    views = [memoryview(memory)[:BLOCK]] * (len(BODY) // BLOCK)
    return read_range(pool, Target(server.url + SIGNED, len(BODY), **more), 0, views, abort)


def read(pool, server, memory, **more):
    return b"".join(map(bytes, blocks(pool, server, memory, **more)))


def read_here(pool):
    """Tell whether anything was read by this process itself, whose pool has kept the connection."""
    return any(pool._idle.values())


@contextmanager
def in_the_middle(pool, server, memory, **more):
    """Begin a read in another thread and get its answer as a Future."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(read, pool, server, memory, **more)


def descriptors(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def signalled(pids, number, until):
    """Send a signal, and wait until it has done what it does."""
    for pid in pids:
        os.kill(pid, number)
        with suppress(ChildProcessError):  # its end was noticed by others already
            os.waitid(os.P_PID, pid, until | os.WNOWAIT)


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_worker_reads_the_same_bytes_over_one_connection(pool, serve, buffer):
    with serve() as server:
        assert [read(pool, server, buffer) for _ in range(3)] == [BODY] * 3
        assert server.connections == 1
    assert not read_here(pool)


def test_views_may_lie_anywhere_in_the_buffer(pool, serve):
    with closing(SharedBuffer(100_000)) as buffer, memoryview(buffer) as whole, serve() as server:
        target = Target(server.url, len(BODY))
        views = [whole[50_000:50_003], whole[:7], whole[:7], whole[99_999:]]
        given = [bytes(view) for view in read_range(pool, target, 10, views)]
        for view in views:
            view.release()
    assert given == [BODY[10:13], BODY[13:20], BODY[20:27], BODY[27:28]]
    assert not read_here(pool)


def test_more_reads_than_conduits_are_done_here(pool, serve):
    buffers = [SharedBuffer(BLOCK) for _ in range(5)]
    with serve() as server, ThreadPoolExecutor(5) as threads:
        assert list(threads.map(lambda buffer: read(pool, server, buffer), buffers)) == [BODY] * 5
        reads = [blocks(pool, server, buffer) for buffer in buffers]
        assert {bytes(next(reading)) for reading in reads} == {BODY[:BLOCK]}
        assert len(pool._leased) == 1
        for reading in reads:
            reading.close()
    for buffer in buffers:
        buffer.close()


def test_other_memory_is_filled_here(pool, serve):
    with serve() as server:
        assert read(pool, server, bytearray(BLOCK)) == BODY
    assert read_here(pool)


def test_without_tls_it_is_read_here(pool, buffer):
    with MisbehavingServer(body=BODY) as server:
        assert read(pool, server, buffer) == BODY
    assert read_here(pool)


@pytest.mark.parametrize(
    "behaviour",
    [
        bad.status(401), bad.status(403), bad.status(404), bad.status(412), bad.status(416), bad.status(418),
        bad.status(500), bad.status(503, Retry_After="7"), bad.status(429, b"<Error><Code>SlowDown</Code></Error>"),
        bad.status(301, Location="https://elsewhere/a?Signature=topsecret"),
        bad.serve_with(Content_Encoding="gzip"), bad.serve_with(Content_Range=f"bytes 1-{len(BODY)}/{len(BODY)}"),
        bad.serve_with(Content_Range=f"bytes 0-{len(BODY) - 1}/1234567"), bad.serve_with(ETag='"other"'),
        bad.reset, bad.garbage, bad.truncate(250_000), bad.status(400, b"\xff\x00" * 9000, Noise="\x01" * 60_000),
        bad.status(400, b"\xff\x00" * 9000, **{f"Noise_{number}": "\x01" * 900 for number in range(80)}),
    ],
)  # fmt: skip
def test_an_error_is_the_same_as_here(pool, certificate, serve, buffer, behaviour):
    def error(pool):
        with pytest.raises(SourceError) as caught:
            read(pool, server, buffer, expect={"ETag": '"pinned"'})
        return type(caught.value), str(caught.value), getattr(caught.value, "retry_after", None)

    with serve(behaviour) as server, closing(HttpPool(certificate[0])) as alone:
        assert error(pool) == error(alone)
        assert "topsecret" not in error(pool)[1]
    assert not read_here(pool)


def test_a_certificate_that_is_not_trusted_is_the_same_error(workers, serve, buffer):
    pool = HttpPool(workers=workers)
    with serve() as server, closing(pool), pytest.raises(SourceUnavailable, match="not trusted"):
        read(pool, server, buffer)


def test_a_refusal_is_explained_here(pool, serve, buffer):
    seen = []

    def explain(refusal):
        seen.append(refusal)
        return SourceChanged("because")

    with serve(bad.status(403, b"<Error/>", X_Region="eu")) as server, pytest.raises(SourceChanged, match="because"):
        read(pool, server, buffer, explain=explain)
    assert (seen[0].status, seen[0].body, seen[0].headers["x-region"]) == (403, b"<Error/>", "eu")


def test_the_pools_limits_hold(certificate, workers, serve, buffer):
    released = threading.Event()
    pool = HttpPool(certificate[0], HttpLimits(silence=0.1), workers)
    with closing(pool), serve(bad.stall(released, after=150_000)) as server:
        with pytest.raises(SourceUnavailable, match="stalled"):
            read(pool, server, buffer)
        released.set()


@pytest.mark.parametrize("after", [0, 150_000])
def test_an_abort_ends_it_and_the_worker_goes_on(pool, workers, serve, buffer, after):
    released, reached, abort, pids = threading.Event(), threading.Event(), Abort(), workers.pids
    stall = bad.stall(released, after, reached)
    with serve(stall, bad.serve) as server, in_the_middle(pool, server, buffer, abort=abort) as answer:
        assert reached.wait(PATIENCE)
        abort()
        assert isinstance(answer.exception(PATIENCE), SourceUnavailable)
        released.set()
        assert read(pool, server, buffer) == BODY
    assert workers.pids == pids


def test_an_abort_that_came_too_early_for_the_worker_still_ends_it(pool, serve, buffer, monkeypatch):
    released, reached, abort, lost = threading.Event(), threading.Event(), Abort(), []
    pids = pool.workers.pids
    real = pool.workers._processes[0].__class__.tell
    monkeypatch.setattr(
        "csi_model.sources.conduits.Process.tell", lambda *order: real(*order) if lost else lost.append(order)
    )
    with serve(bad.stall(released, 0, reached)) as server, in_the_middle(pool, server, buffer, abort=abort) as answer:
        assert reached.wait(PATIENCE)
        abort()
        assert isinstance(answer.exception(PATIENCE), SourceUnavailable)
        released.set()
    assert (lost, pool.workers.pids) == ([lost[0]], pids)


def test_a_pool_that_is_closed_ends_its_reads_and_no_others(certificate, workers, serve, buffer):
    released, reached = threading.Event(), threading.Event()
    pool, other = (HttpPool(certificate[0], workers=workers) for _ in range(2))
    stall = bad.stall(released, 150_000, reached)
    with closing(other), serve(stall, bad.serve) as server, in_the_middle(pool, server, buffer) as answer:
        assert reached.wait(PATIENCE)
        with closing(SharedBuffer(BLOCK)) as second:
            reading = blocks(other, server, second)
            got = [bytes(next(reading))]
            pool.close()
            assert isinstance(answer.exception(PATIENCE), SourceUnavailable)
            released.set()
            got += [bytes(view) for view in reading]
        assert b"".join(got) == BODY
        with pytest.raises(SourceUnavailable, match="closed"):
            read(pool, server, buffer)


def test_after_an_early_close_the_memory_is_left_alone(pool, workers, serve, buffer):
    pids = workers.pids
    with serve() as server:
        reading = blocks(pool, server, buffer)
        next(reading)
        reading.close()
        buffer[:] = b"x" * BLOCK
        with closing(SharedBuffer(BLOCK)) as other:
            assert read(pool, server, other) == BODY
    assert buffer[:] == b"x" * BLOCK
    assert workers.pids == pids


@pytest.mark.parametrize("by_the_pool", [False, True])
def test_a_worker_that_does_not_end_a_read_is_dead_before_the_memory_is_anybody_elses(
    pool, workers, serve, buffer, by_the_pool
):
    released, reached, abort, pids = threading.Event(), threading.Event(), Abort(), workers.pids

    def stall(connection, head, server):
        bad.answer(connection, "206 Partial Content", bad._partial(head, server)[0], BODY[:150_000])
        reached.set()
        released.wait()
        connection.sendall(BODY[150_000:])
        return bad.CLOSE

    with serve(stall) as server, in_the_middle(pool, server, buffer, abort=abort) as answer:
        assert reached.wait(PATIENCE)
        signalled(pids, signal.SIGSTOP, os.WSTOPPED)
        (pool.close if by_the_pool else abort)()
        assert isinstance(answer.exception(PATIENCE), SourceUnavailable)
        buffer[:] = b"x" * BLOCK
        released.set()
        (dead,) = set(pids) - set(workers.pids)
        assert is_gone(dead)
    assert buffer[:] == b"x" * BLOCK


def test_a_close_that_the_worker_does_not_answer_kills_it_and_raises_nothing(pool, workers, serve, buffer):
    pids = workers.pids
    with serve() as server:
        reading = blocks(pool, server, buffer)
        next(reading)
        signalled(pids, signal.SIGSTOP, os.WSTOPPED)
        reading.close()
    (dead,) = set(pids) - set(workers.pids)
    assert is_gone(dead)


def test_when_workers_die_reads_fail_once_and_then_go_on_here(pool, workers, serve, buffer, caplog):
    released, reached = threading.Event(), threading.Event()
    stall = bad.stall(released, 150_000, reached)
    with serve(stall, bad.serve) as server, in_the_middle(pool, server, buffer) as answer:
        assert reached.wait(PATIENCE)
        signalled(workers.pids, signal.SIGKILL, os.WEXITED)
        assert isinstance(answer.exception(PATIENCE), SourceUnavailable)
        assert "died" in str(answer.exception())
        released.set()
        assert read(pool, server, buffer) == BODY
    assert (read_here(pool), workers.pids, len(caplog.records)) == (True, [], 2)


def test_without_an_interpreter_everything_is_read_here(certificate, serve, buffer, monkeypatch, caplog):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with (
        closing(Workers(2, 2)) as workers,
        closing(HttpPool(certificate[0], workers=workers)) as pool,
        serve() as server,
    ):
        assert read(pool, server, buffer) == BODY
    assert "can't start" in caplog.text


def test_closing_ends_reads_and_processes(pool, workers, serve, buffer):
    released, reached, pids = threading.Event(), threading.Event(), workers.pids
    with serve(bad.hang(released, reached)) as server, in_the_middle(pool, server, buffer) as answer:
        assert reached.wait(PATIENCE)
        workers.close()
        assert isinstance(answer.exception(PATIENCE), SourceUnavailable)
        released.set()
    assert all(map(is_gone, pids))


PARENT = """
import sys, time
from csi_model.sources.workers import Workers
print(*Workers(2, 2).pids, flush=True)
sys.stdin.read()
"""


def test_workers_end_with_their_parent():
    command = [sys.executable, "-c", PARENT]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        ends = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
    for end in ends:
        assert select.select([end], [], [], PATIENCE)[0]
        os.close(end)


def test_no_signature_is_seen_from_outside(pool, workers, serve, buffer):
    with serve() as server, closing(blocks(pool, server, buffer)) as reading:
        next(reading)
        for pid in workers.pids:
            seen = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ", "comm")]
            assert b"topsecret" not in b"".join(seen)


def test_descriptors_and_memory_come_back(pool, workers, serve):
    with serve() as server:

        def some():
            with closing(SharedBuffer(BLOCK)) as buffer:
                for number in range(20):
                    reading = blocks(pool, server, buffer)
                    next(reading)
                    if number % 2:
                        reading.close()
                    else:
                        assert sum(map(len, reading)) == len(BODY) - BLOCK

        some()
        before = [descriptors(pid) for pid in (os.getpid(), *workers.pids)]
        some()
        assert [descriptors(pid) for pid in workers.pids] <= before[1:]
    mapped = [Path(f"/proc/{pid}/maps").read_text().count("memfd:csi-model") for pid in workers.pids]
    assert mapped == [0, 0]
