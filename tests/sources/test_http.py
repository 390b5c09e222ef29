"""Range reads against a server that misbehaves."""

import socket
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from csi_model.errors import (
    SourceBusy,
    SourceChanged,
    SourceDenied,
    SourceInvalid,
    SourceUnauthenticated,
    SourceUnavailable,
)
from csi_model.sources.http import Target, read_range
from csi_model.sources.http_connection import HttpLimits
from csi_model.sources.http_pool import HttpPool
from csi_model.sources.http_refusals import bare, clean, retry_after
from tests.fakes import misbehaving_server as bad
from tests.fakes.misbehaving_server import MisbehavingServer
from tests.sources.certificates import make_certificate

SIGNED = "/models/a?X-Amz-Signature=topsecret"


@pytest.fixture
def pool():
    pool = HttpPool()
    yield pool
    pool.close()


def read(server, pool, start=0, end=1000, **more):
    view = memoryview(bytearray(end - start))
    for _ in read_range(pool, Target(server.url + SIGNED, len(server.body), **more), start, [view]):
        pass
    return bytes(view)


def first_byte(pool, url):
    return next(read_range(pool, Target(url, 1), 0, [memoryview(bytearray(1))]))


def refused(pool, kind, *script, match=None, **more):
    """Read from a server that follows the script, and give the error."""
    with MisbehavingServer(*script) as server, pytest.raises(kind, match=match) as caught:
        read(server, pool, **more)
    assert type(caught.value) is kind
    assert "topsecret" not in str(caught.value)
    assert "Signature" not in repr(caught.value)
    return caught.value


def test_a_range_is_read_exactly(pool):
    with MisbehavingServer() as server:
        assert read(server, pool, 5, 1234) == server.body[5:1234]


def test_a_whole_object_may_come_as_200(pool):
    with MisbehavingServer(bad.whole) as server:
        assert read(server, pool, 0, len(server.body)) == server.body


def test_a_connection_is_kept_for_the_next_request(pool):
    with MisbehavingServer() as server:
        for start in range(5):
            read(server, pool, start)
        assert server.connections == 1


def test_at_most_the_limit_of_idle_connections_is_kept():
    pool = HttpPool(limits=HttpLimits(idle=1))
    with MisbehavingServer() as server:
        barrier = threading.Barrier(3)

        def together():
            barrier.wait()
            read(server, pool)

        threads = [threading.Thread(target=together) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(len(idle) for idle in pool._idle.values()) == 1
        pool.close()


def test_a_kept_connection_that_the_server_closed_is_replaced(pool):
    with MisbehavingServer(bad.serve_then_close) as server:
        for start in range(3):
            assert read(server, pool, start) == server.body[start:1000]
        assert server.connections == 3


def test_no_connection_is_kept_after_an_error(pool):
    with MisbehavingServer(bad.status(404), bad.serve) as server:
        with pytest.raises(SourceChanged):
            read(server, pool)
        read(server, pool)
        assert server.connections == 2


def test_a_reset_is_unavailable(pool):
    refused(pool, SourceUnavailable, bad.reset)


def test_a_truncated_body_is_unavailable(pool):
    refused(pool, SourceUnavailable, bad.truncate(999), match="ended early")


def test_garbage_is_unavailable(pool):
    refused(pool, SourceUnavailable, bad.garbage)


def test_a_stalled_body_is_unavailable():
    released = threading.Event()
    pool = HttpPool(limits=HttpLimits(connect=600, silence=0.05))
    too_late = threading.Timer(5, released.set)
    too_late.start()
    with MisbehavingServer(bad.stall(released, after=10)) as server:
        with pytest.raises(SourceUnavailable, match="stalled"):
            read(server, pool)
        released.set()
    too_late.cancel()
    too_late.join()
    pool.close()


def test_a_trickle_is_unavailable():
    released = threading.Event()
    pool = HttpPool(limits=HttpLimits(slow_window=0.05, slow_rate=1e6))
    with MisbehavingServer(bad.trickle(released)) as server:
        with pytest.raises(SourceUnavailable, match="slower than"):
            read(server, pool)
        released.set()
    pool.close()


def test_closing_the_pool_ends_a_read_that_waits():
    released, reached = threading.Event(), threading.Event()
    pool, errors = HttpPool(), []
    with MisbehavingServer(bad.stall(released, reached=reached)) as server:

        def wait():
            with pytest.raises(SourceUnavailable) as caught:
                read(server, pool)
            errors.append(caught.value)

        thread = threading.Thread(target=wait)
        thread.start()
        reached.wait()
        pool.close()
        thread.join(5)
        ended = not thread.is_alive()
        released.set()
        thread.join()
    assert ended
    assert errors


def test_nobody_listening_is_unavailable(pool):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(SourceUnavailable, match=f"127.0.0.1:{port}"):
        first_byte(pool, f"http://127.0.0.1:{port}/a")


def test_an_unknown_host_is_unavailable(pool):
    with pytest.raises(SourceUnavailable, match="can't be resolved"):
        first_byte(pool, "http://nowhere.invalid/a")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, SourceInvalid),
        (401, SourceUnauthenticated),
        (403, SourceDenied),
        (404, SourceChanged),
        (410, SourceChanged),
        (412, SourceChanged),
        (416, SourceChanged),
        (429, SourceBusy),
        (500, SourceUnavailable),
        (503, SourceBusy),
        (504, SourceUnavailable),
        (204, SourceInvalid),
    ],
)
def test_each_status_has_its_type(pool, code, kind):
    refused(pool, kind, bad.status(code))


def test_busy_says_how_long_to_wait(pool):
    assert refused(pool, SourceBusy, bad.status(503, Retry_After="7")).retry_after == 7


def test_busy_without_a_time_says_none(pool):
    assert refused(pool, SourceBusy, bad.status(503)).retry_after is None


def test_a_date_to_retry_after_becomes_seconds():
    assert 50 < retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=60))) <= 60
    assert retry_after(format_datetime(datetime.now(UTC) - timedelta(seconds=60))) == 0


@given(st.text())
@example("0\x1f")
def test_any_retry_after_is_none_or_a_time_within_a_day(text):
    seconds = retry_after(text)
    assert seconds is None or 0 <= seconds <= 86400


def test_a_redirect_names_its_place_and_is_not_followed(pool):
    location = "https://other.example.com/models/a?X-Amz-Signature=topsecret"
    refused(
        pool,
        SourceInvalid,
        bad.status(307, Location=location),
        match="redirects to https://other.example.com/models/a:",
    )


def test_another_range_is_invalid(pool):
    refused(pool, SourceInvalid, bad.serve_with(Content_Range="bytes 1-1000/4096"), match="another range")


def test_no_range_at_all_is_invalid(pool):
    refused(pool, SourceInvalid, bad.whole, match="ignores the Range")


def test_another_total_size_means_that_it_changed(pool):
    refused(pool, SourceChanged, bad.serve_with(Content_Range="bytes 0-999/5000"), match="5000 bytes now")


@pytest.mark.parametrize("length", [999, 1001])
def test_another_length_is_invalid(pool, length):
    refused(pool, SourceInvalid, bad.serve_with(Content_Length=length))


def test_an_encoded_body_is_invalid(pool):
    refused(pool, SourceInvalid, bad.serve_with(Content_Encoding="gzip"), match="Content-Encoding")


def test_a_chunked_body_is_invalid(pool):
    refused(pool, SourceInvalid, bad.serve_with(Transfer_Encoding="chunked"))


def test_another_validator_means_that_it_changed(pool):
    refused(pool, SourceChanged, bad.serve_with(ETag='"new"'), match="overwritten", expect={"ETag": '"old"'})


def test_the_pinned_validator_is_accepted(pool):
    with MisbehavingServer(bad.serve_with(ETag='"old"')) as server:
        assert read(server, pool, expect={"ETag": '"old"'}) == server.body[:1000]


def test_an_untrusted_certificate_is_unavailable_and_says_what_to_do(pool, tmp_path):
    _, tls = make_certificate(tmp_path)
    with MisbehavingServer(tls=tls) as server, pytest.raises(SourceUnavailable, match="CA bundle"):
        read(server, pool)


def test_a_trusted_authority_is_believed(tmp_path):
    public, tls = make_certificate(tmp_path)
    pool = HttpPool(public)
    with MisbehavingServer(tls=tls) as server:
        assert read(server, pool) == server.body[:1000]
        pool.close()


def test_a_missing_bundle_of_authorities_is_named(tmp_path):
    pool = HttpPool(tmp_path / "no.pem")
    with pytest.raises(SourceUnavailable, match=r"no\.pem"):
        first_byte(pool, "https://127.0.0.1:1/a")


def test_a_bare_url_has_neither_user_nor_query():
    assert bare("https://user:pw@host:1/a%20b?sig=1#f") == "https://host:1/a%20b"


@given(st.text())
def test_cleaned_text_is_one_short_printable_line(text):
    cleaned = clean(text)
    assert len(cleaned) <= 300
    assert cleaned.isprintable()


def test_cleaned_text_has_no_token_that_a_server_repeats():
    token = "IQoJb3JpZ2luX2VjEAoaCXVzLWVhc3QtMSJHMEUCIQD" * 4
    assert (
        clean(f"the token {token}= is wrong, see https://host/a-b/c") == "the token … is wrong, see https://host/a-b/c"
    )


def test_cleaned_text_has_no_queries():
    assert clean('can\'t reach "https://host/a?X-Amz-Signature=1&b=2"') == 'can\'t reach "https://host/a"'
