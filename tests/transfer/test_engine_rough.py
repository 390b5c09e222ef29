"""The engine over real sockets, and a server that misbehaves."""

import re
import threading
from contextlib import closing, contextmanager

import pytest

from csi_model.core.checksum import Algorithm
from csi_model.errors import SourceChanged, SourceCorrupt, SourceUnavailable
from csi_model.sources.http import Target, read_range
from csi_model.sources.http_connection import HttpLimits
from csi_model.sources.http_pool import HttpPool
from csi_model.transfer import stragglers
from tests.fakes.misbehaving_server import (
    MisbehavingServer,
    asked,
    reset_after,
    serve,
    serve_then_close,
    serve_with,
    stall,
    status,
    truncate,
    wrong_bytes,
)
from tests.fakes.source import FakeSource
from tests.transfer.bringing import (
    PATIENCE,
    QUICK,
    SMALL_BLOCK,
    SMALL_CHUNK,
    begin,
    bring,
    content,
    engine_on,
    here,
    manifest_of,
    nothing_in_use,
    quick,
    with_crc32,
)

pytestmark = pytest.mark.usefixtures("small_chunks")
C = SMALL_CHUNK
WEIGHTS = content(16 * C + 5)
FILES = {"weights": WEIGHTS}
ONE_STREAM = quick(1)  # requests of four chunks
BUSY = status(503, Retry_After="0")


class HttpSource(FakeSource):
    """Lists as the fake does, and reads over HTTP from a server."""

    def __init__(self, server, *, checksum=None, **limits):
        super().__init__({"qwen/weights": server.body}, checksum=checksum)
        self._url = f"{server.url}/weights"
        self._pool = HttpPool(limits=HttpLimits(**limits))

    @contextmanager
    def open(self, entry):
        yield _Reader(self._pool, Target(self._url, entry.size, expect={"ETag": '"1"'}))

    def close(self):
        self._pool.close()


class _Reader:
    def __init__(self, pool, target):
        self._pool, self._target = pool, target

    def read(self, start, views, abort=None):
        return read_range(self._pool, self._target, start, views, abort)


def arrive(store, server, settings=ONE_STREAM, **how):
    """Bring the model and look at it; returns the engine and the final progress."""
    engine = engine_on(store, settings)
    with closing(HttpSource(server, **how)) as source:
        progress = bring(engine, manifest_of(source), source)
    assert here(store, manifest_of(source)) == FILES
    assert nothing_in_use(engine)
    return engine, progress


def refuse(store, server, error, match, **how):
    """Let a transfer fail; nothing of it may be visible or in use."""
    engine = engine_on(store)
    with closing(HttpSource(server, **how)) as source, pytest.raises(error, match=match) as refusal:
        bring(engine, manifest_of(source), source)
    assert here(store, manifest_of(source)) == {}
    assert nothing_in_use(engine)
    return str(refusal.value)


@contextmanager
def set_after(event):
    """Let the server's threads end whatever happens."""
    try:
        yield
    finally:
        event.set()


def requested(server):
    return sum(end - start for start, end in map(asked, server.requests))


@pytest.mark.parametrize("settings", [ONE_STREAM, QUICK])
@pytest.mark.parametrize("checksum", [None, Algorithm.SHA256])
def test_a_model_arrives_by_requests_that_overlap_nowhere(store, settings, checksum):
    with MisbehavingServer(body=WEIGHTS) as server:
        arrive(store, server, settings, checksum=checksum)
        spans = sorted(map(asked, server.requests))
    assert [start for start, _ in spans] == [0, *[end for _, end in spans[:-1]]]
    assert requested(server) == len(WEIGHTS)


# what is mended


@pytest.mark.parametrize("checksum", [None, Algorithm.SHA256])
@pytest.mark.parametrize("after", [0, 1, SMALL_BLOCK - 1, SMALL_BLOCK, 3 * SMALL_BLOCK + 100])
def test_a_reset_costs_less_than_a_block(store, after, checksum):
    with MisbehavingServer(reset_after(after), serve, reset_after(after), serve, body=WEIGHTS) as server:
        _, progress = arrive(store, server, checksum=checksum)
        lengths = [end - start for start, end in map(asked, server.requests)]
    given = after + lengths[1] + after + sum(lengths[3:])
    assert progress.retries == 2
    assert 0 <= given - len(WEIGHTS) < 2 * SMALL_BLOCK


@pytest.mark.parametrize("harm", [truncate(SMALL_BLOCK + 7), truncate(0), reset_after(0), status(500), status(408)])
def test_what_breaks_off_is_gone_on_with(store, harm):
    with MisbehavingServer(serve, harm, serve, harm, serve, body=WEIGHTS) as server:
        _, progress = arrive(store, server)
    assert progress.retries == 2
    assert (progress.fetched, progress.present) == (len(WEIGHTS), len(WEIGHTS))


def test_resets_that_each_bring_something_never_add_up_to_a_failure(store):
    every_block = [reset_after(SMALL_BLOCK)] * (len(WEIGHTS) // SMALL_BLOCK)
    with MisbehavingServer(*every_block, serve, body=WEIGHTS) as server:
        _, progress = arrive(store, server)
    assert progress.retries > QUICK.attempts


def test_as_many_failures_in_a_row_as_are_allowed_end_it_and_the_next_transfer_goes_on(store):
    with MisbehavingServer(serve, truncate(0), body=WEIGHTS) as server:
        with closing(HttpSource(server)) as source, pytest.raises(SourceUnavailable, match="ended early"):
            bring(engine_on(store, ONE_STREAM), manifest_of(source), source)
        assert len(server.requests) == 1 + ONE_STREAM.attempts
        server.script[:], server.requests[:] = [serve], []
        arrive(store, server)
        assert requested(server) == len(WEIGHTS) - 4 * C


@pytest.mark.parametrize("code", [429, 503])
def test_a_server_that_asks_to_slow_down_gets_half_the_streams_and_everything_arrives(store, code):
    busy = status(code, Retry_After="0")
    with MisbehavingServer(busy, serve, body=WEIGHTS) as server:
        engine, progress = arrive(store, server, QUICK)
    assert (engine.streams.limit, progress.retries) == (QUICK.streams // 2, 1)


def test_streams_that_are_told_so_together_halve_their_number_once(store):
    with MisbehavingServer(*[BUSY] * 4, serve, body=WEIGHTS) as server:
        engine, progress = arrive(store, server, QUICK)
    assert (engine.streams.limit, progress.retries) == (QUICK.streams // 2, 4)


def test_a_kept_connection_that_the_server_has_closed_is_no_failure(store):
    with MisbehavingServer(serve_then_close, body=WEIGHTS) as server:
        _, progress = arrive(store, server)
    assert progress.retries == 0


def test_a_stream_that_stalls_is_cut_off_and_goes_on_over_another_connection(store, monkeypatch):
    monkeypatch.setattr(stragglers, "WINDOW", 0.05)
    released = threading.Event()
    with (
        MisbehavingServer(serve, stall(released, after=SMALL_BLOCK), serve, body=WEIGHTS) as server,
        set_after(released),
    ):
        _, progress = arrive(store, server, quick(2), silence=PATIENCE * 10)
    assert progress.retries >= 1


def test_a_stop_ends_a_stalled_stream_and_what_it_had_stays(store):
    released, reached, stop = threading.Event(), threading.Event(), threading.Event()
    stalled = stall(released, after=C, reached=reached)
    with MisbehavingServer(serve, stalled, body=WEIGHTS) as server, set_after(released):
        with closing(HttpSource(server)) as source:
            answer = begin(lambda: bring(engine_on(store, ONE_STREAM), manifest_of(source), source, stop=stop))
            reached.wait(PATIENCE)
            stop.set()
            assert "Stopped" in repr(answer.exception(PATIENCE))
        released.set()
        server.script[:], server.requests[:] = [serve], []
        arrive(store, server)
    assert requested(server) <= len(WEIGHTS) - 4 * C


# what is refused


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (serve_with(ETag='"2"'), "overwritten"),
        (status(412), "overwritten"),
        (status(404), "gone"),
        (status(416), "shorter"),
    ],
)
def test_an_object_that_was_overwritten_in_the_middle_is_refused_and_nothing_is_visible(store, harm, words):
    with MisbehavingServer(serve, harm, body=WEIGHTS) as server:
        refuse(store, server, SourceChanged, words)


@pytest.mark.parametrize("checksum", [Algorithm.SHA256, Algorithm.SHA1, Algorithm.MD5])
def test_wrong_bytes_are_refused_with_the_files_name_and_both_values(store, checksum):
    with MisbehavingServer(serve, wrong_bytes, serve, body=WEIGHTS) as server:
        said = refuse(store, server, SourceCorrupt, "weights arrived damaged", checksum=checksum)
    found, stated = re.findall(r"\b[0-9a-f]{32,64}\b", said)
    with closing(HttpSource(server, checksum=checksum)) as source:
        (entry,) = manifest_of(source).entries
    assert stated == entry.checksum.value != found


def test_wrong_bytes_of_a_file_with_a_crc_are_refused_too(store):
    with MisbehavingServer(serve, wrong_bytes, serve, body=WEIGHTS) as server, closing(HttpSource(server)) as source:
        manifest = with_crc32(manifest_of(source), FILES)
        with pytest.raises(SourceCorrupt, match=manifest.entries[0].checksum.value):
            bring(engine_on(store), manifest, source)
        assert here(store, manifest) == {}
