"""Reads that are cut off from another thread: what the caller gets is the object's bytes or an error, nothing else."""

import socket
import threading
from contextlib import suppress

import pytest

from csi_model.sources.http_connection import Connection, HttpLimits
from csi_model.sources.http_pool import HttpPool
from csi_model.sources.http_server import Server
from tests.sources.certificates import make_certificate

BODY = bytes(range(256)) * 512  # 128 KiB: fits into the buffers of the kernel, so all of it is there when we hang up
PATIENCE = 30.0


@pytest.fixture
def answered(tmp_path):
    """A TLS connection on which the whole answer has arrived and the first bytes have been read."""
    public, tls = make_certificate(tmp_path)
    sent, done = threading.Event(), threading.Event()

    def serve():
        plain, _ = listener.accept()
        with tls.wrap_socket(plain, server_side=True) as peer:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
            sent.set()
            done.wait(PATIENCE)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        server = Server("https", "127.0.0.1", listener.getsockname()[1])
        pool = HttpPool(public)
        connection = Connection(server, HttpLimits(), pool._context())
        _, begun = connection.ask(f"{server}/", {})
        assert sent.wait(PATIENCE)
        yield connection, bytes(begun)
        connection.close()
        pool.close()
        done.set()
        thread.join()


def test_a_tls_read_that_is_cut_off_never_gives_encrypted_bytes(answered):
    connection, begun = answered
    connection.abort()
    rest = b""
    with suppress(OSError):
        while count := connection.fill(memory := memoryview(bytearray(len(BODY)))):
            rest += memory[:count]
    assert BODY.startswith(begun + rest)
