"""Connections: how what a server sends gets into memory."""

import socket
import threading
from contextlib import contextmanager

import pytest

from csi_model.sources.http_connection import Connection, HttpLimits
from csi_model.sources.http_server import Server

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n"
PIECES = 8
PIECE = 5000


@contextmanager
def asked(serve, **limits):
    """A connection whose question was answered by ``serve``, with what came of the body beside the head."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(HEAD)
                serve(peer)

        thread = threading.Thread(target=answer)
        thread.start()
        server = Server("http", "127.0.0.1", listener.getsockname()[1])
        connection = Connection(server, HttpLimits(**limits), None)
        try:
            _, rest = connection.ask(f"{server}/", {})
            yield connection, bytes(rest)
        finally:
            connection.close()
            thread.join()


def test_a_view_is_filled_by_one_call_however_its_bytes_come():
    going = threading.Event()

    def in_pieces(peer):
        going.wait()
        for _ in range(PIECES):
            peer.sendall(b"x" * PIECE)

    with asked(in_pieces) as (connection, rest):
        assert rest == b""
        going.set()
        assert connection.fill(memoryview(bytearray(PIECES * PIECE))) == PIECES * PIECE


def test_what_has_come_is_given_when_the_time_is_over_and_then_it_has_stalled():
    over = threading.Event()

    def one_piece(peer):
        peer.sendall(b"x" * PIECE)
        over.wait()

    with asked(one_piece, silence=0.05) as (connection, rest):
        view = memoryview(bytearray(2 * PIECE))
        filled = len(rest)
        try:
            while filled < PIECE:
                filled += connection.fill(view[filled:])
            assert filled == PIECE
            with pytest.raises(TimeoutError, match="nothing came"):
                connection.fill(view[filled:])
        finally:
            over.set()


def test_what_comes_first_is_enough_for_some():
    over = threading.Event()

    def one_piece(peer):
        peer.sendall(b"x")
        over.wait()

    with asked(one_piece) as (connection, rest):
        try:
            assert rest == b"x" or connection.some(memoryview(bytearray(PIECE))) == 1
        finally:
            over.set()


def test_an_end_is_no_bytes():
    with asked(lambda peer: peer.shutdown(socket.SHUT_WR)) as (connection, _):
        assert connection.fill(memoryview(bytearray(PIECE))) == 0
