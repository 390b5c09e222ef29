"""Heads of answers: what is plainly right is understood, everything else is an error."""

import socket
import threading
from contextlib import suppress
from http.client import HTTPException, HTTPResponse, RemoteDisconnected

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.sources import http_head
from csi_model.sources.http_head import LARGEST, parse, receive, request, unchunked

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
PATIENCE = 30.0
names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True).filter(
    lambda name: name.lower() not in ("content-length", "transfer-encoding", "connection")
)
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)


@pytest.fixture
def pair():
    """Our end of a connection, and the server's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(PATIENCE)
        yield ours, theirs


def received(pair, *pieces, memory=LARGEST, end=True):
    ours, theirs = pair

    def send():
        with suppress(OSError):
            for piece in pieces:
                theirs.sendall(piece)
            if end:
                theirs.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        head, rest = receive(ours.recv_into, bytearray(memory), PATIENCE)
        return head, bytes(rest)
    finally:
        ours.shutdown(socket.SHUT_RDWR)
        thread.join()


# --- Answers ---


def test_what_came_of_the_body_is_given_back(pair):
    head, rest = received(pair, OK + b"hel")
    assert (head.status, head.length, head.last, rest) == (200, 5, False, b"hel")


def test_a_head_may_come_byte_by_byte(pair):
    head, rest = received(pair, *(bytes([byte]) for byte in OK))
    assert (head.status, rest) == (200, b"")


def test_announcements_before_the_answer_are_passed_over(pair):
    head, rest = received(pair, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"h")
    assert (head.status, rest) == (200, b"h")


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\nContent-", OK[:-2]])
def test_a_connection_that_ends_within_a_head_was_reset(pair, begun):
    with pytest.raises(ConnectionResetError, match="within its head"):
        received(pair, begun)


def test_a_connection_that_ends_before_a_head_was_disconnected(pair):
    with pytest.raises(RemoteDisconnected):
        received(pair)


@pytest.mark.parametrize("piece", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["lines", "heads"])
def test_a_head_without_an_end_is_refused(pair, piece, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(http_head.time, "monotonic", lambda: float(next(clock)))
    with pytest.raises((HTTPException, TimeoutError)):
        received(pair, piece * 10_000)


def test_a_head_that_does_not_fit_is_refused(pair):
    with pytest.raises(HTTPException, match="over 64 bytes"):
        received(pair, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100, memory=64, end=False)


def test_a_head_that_trickles_is_given_up(pair, monkeypatch):
    clock = iter([0.0, 1.0, PATIENCE + 1])
    monkeypatch.setattr(http_head.time, "monotonic", lambda: next(clock))
    ours, theirs = pair
    theirs.sendall(b"HT")
    with pytest.raises(TimeoutError, match="head"):
        receive(lambda view: ours.recv_into(view[:1]), bytearray(64), PATIENCE)


@given(
    status=st.integers(200, 599),
    headers=st.lists(st.tuples(names, values), max_size=8),
    length=st.none() | st.integers(0, 10**18 - 1),
    connection=st.sampled_from([None, "close", "Keep-Alive", "upgrade"]),
    version=st.sampled_from(["1.0", "1.1"]),
)
def test_heads_are_understood_as_the_standard_library_does(status, headers, length, connection, version):
    lines = [f"HTTP/{version} {status} Whatever", *(f"{name}: {value}" for name, value in headers)]
    lines += [f"CONTENT-length:{length}\t"] if length is not None else []
    lines += [f"connection: {connection}"] if connection else []
    theirs = understood(lines)
    ours = parse("\r\n".join(lines))
    assert ours.status == theirs.status
    assert ours.last == (theirs.will_close or length is None)
    if status not in (204, 304):
        assert ours.length == theirs.length
    for name, _ in headers:
        assert ours.headers[name.lower()] == theirs.getheader(name)


def understood(lines):
    """Let the standard library understand a head."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        response = HTTPResponse(ours)
        response.begin()
        response.close()
        return response


@given(st.text(st.characters(max_codepoint=255)))
def test_whatever_comes_is_a_head_or_an_error(text):
    with suppress(HTTPException):
        parse(text)


@pytest.mark.parametrize("text", ["", "HTTP/2 200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 ²00 OK",
                                  "ICY 200 OK", "HTTP/1.1 200 O\nK"])  # fmt: skip
def test_another_first_line_is_refused(text):
    with pytest.raises(HTTPException):
        parse(text)


def test_the_reason_may_lack_with_its_space():
    assert parse("HTTP/1.1 200").status == 200


@pytest.mark.parametrize("connection", ["close", "keep-alive, Close", "CLOSE ,x"])
def test_a_connection_that_is_to_be_closed_is_not_used_again(connection):
    assert parse(f"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: {connection}").last


@pytest.mark.parametrize(
    "line", ["", "no colon", ": no name", "a b: c", "a : c", " folded: x", "\tfolded", "a: b\nc: d", "a: b\0", "ä: b"]
)
def test_a_malformed_header_line_is_refused(line):
    with pytest.raises(HTTPException, match="header line"):
        parse(f"HTTP/1.1 200 OK\r\n{line}")


@pytest.mark.parametrize("value", ["", "-1", "+1", "1 2", "1, 2", "0x10", "1" * 19, "²"])
def test_a_malformed_length_is_refused(value):
    with pytest.raises(HTTPException, match="Content-Length"):
        parse(f"HTTP/1.1 200 OK\r\nContent-Length: {value}")


def test_the_same_length_twice_is_that_length():
    assert parse("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 7").length == 7


@pytest.mark.parametrize("more", ["", "\r\nContent-Length: 7"])
def test_a_body_in_chunks_has_no_length_and_its_connection_is_not_used_again(more):
    head = parse(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked{more}")
    assert (head.length, head.last) == (None, True)


def test_a_header_that_comes_twice_is_joined():
    assert parse("HTTP/1.1 200 OK\r\nVia: a\r\nVIA: b").headers == {"via": "a, b"}


# --- Bodies in chunks ---


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.integers(0, 300))
def test_chunks_are_put_together_as_far_as_they_came(chunks, came):
    sent = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    whole = b"".join(chunks)
    assert unchunked(sent) == whole
    assert whole.startswith(unchunked(sent[:came]))


# --- Requests ---


def test_a_request_is_what_the_standard_asks_for():
    sent = request("/a%20b?c=d", "host:81", [("Range", "bytes=0-1")])
    assert sent == b"GET /a%20b?c=d HTTP/1.1\r\nHost: host:81\r\nRange: bytes=0-1\r\n\r\n"


@pytest.mark.parametrize("char", ["\r", "\n", "\0", "\x7f"])
@pytest.mark.parametrize("place", ["target", "host", "name", "value"])
def test_nothing_ends_a_line_early(char, place):
    text = {"target": "/", "host": "h", "name": "n", "value": "v"}
    text[place] += char
    with pytest.raises(ValueError, match="control characters"):
        request(text["target"], text["host"], [(text["name"], text["value"])])


@pytest.mark.parametrize(("target", "host"), [("/a b", "h"), ("/", "h h")])
def test_nothing_ends_a_word_early(target, host):
    with pytest.raises(ValueError, match="spaces"):
        request(target, host, [])
