"""A real HTTP server that misbehaves by script: each request takes the next behaviour, the last one repeats."""

import fcntl
import socket
import struct
import termios
import threading
import time
from contextlib import suppress


class MisbehavingServer:
    """Serves ``body`` at any path, in whatever way ``script`` says; a context manager.

    A behaviour is a function of (connection, request, server) from this module. ``requests`` has the heads of all
    requests that came, ``connections`` how many connections were made.
    """

    def __init__(self, *script, body=bytes(range(256)) * 16, tls=None):
        self.script = list(script) or [serve]
        self.body = body
        self.requests = []
        self.connections = 0
        self._tls = tls
        self._open = set()
        self._threads = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            self._start(self._serve, connection)

    def _serve(self, raw):
        with raw, suppress(OSError):
            connection = self._tls.wrap_socket(raw, server_side=True) if self._tls else raw
            self._open.add(connection)  # wrapping takes the socket over
            with connection:
                while head := _head(connection):
                    self.requests.append(head)
                    behaviour = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                    if behaviour(connection, head, self) is CLOSE:
                        break


CLOSE = object()


def _head(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        block = connection.recv(65536)
        if not block:
            return ""
        data += block
    return data.decode("latin-1")


def asked(head):
    """Give the (start, end) that a request asks for, half-open."""
    line = next(line for line in head.splitlines() if line.lower().startswith("range:"))
    first, last = line.partition("=")[2].split("-")
    return int(first), int(last) + 1


def answer(connection, status, headers, body=b""):
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


def _partial(head, server, **changes):
    start, end = asked(head)
    headers = {"Content-Length": end - start, "Content-Range": f"bytes {start}-{end - 1}/{len(server.body)}"}
    return {**headers, **changes}, server.body[start:end]


def serve(connection, head, server):
    """Behave."""
    headers, body = _partial(head, server)
    answer(connection, "206 Partial Content", headers, body)


def serve_with(**changes):
    """Behave, but for some headers (underscores stand for dashes)."""

    def behaviour(connection, head, server):
        headers, body = _partial(head, server, **{name.replace("_", "-"): value for name, value in changes.items()})
        answer(connection, "206 Partial Content", headers, body)

    return behaviour


def serve_then_close(connection, head, server):
    """Behave once, then close the connection without a word, as servers do with idle ones."""
    serve(connection, head, server)
    return CLOSE


def whole(connection, head, server):
    """Ignore the range."""
    answer(connection, "200 OK", {"Content-Length": len(server.body)}, server.body)


def wrong_bytes(connection, head, server):
    """Give other bytes of the right length."""
    headers, body = _partial(head, server)
    answer(connection, "206 Partial Content", headers, bytes(byte ^ 0xFF for byte in body))


def truncate(count):
    """Close after ``count`` bytes of the body."""

    def behaviour(connection, head, server):
        headers, body = _partial(head, server)
        answer(connection, "206 Partial Content", headers, body[:count])
        return CLOSE

    return behaviour


def stall(released, after=0, reached=None, **changes):
    """Say nothing more after ``after`` bytes of the body, until the event is set."""

    def behaviour(connection, head, server):
        headers, body = _partial(head, server, **changes)
        answer(connection, "206 Partial Content", headers, body[:after])
        if reached is not None:
            reached.set()
        released.wait()
        return CLOSE

    return behaviour


def hang(released, reached):
    """Give no answer at all until the event is set."""

    def behaviour(connection, head, server):
        reached.set()
        released.wait()
        return CLOSE

    return behaviour


def trickle(released, after=0):
    """Give one byte after the other behind the first ``after`` ones, until the event is set."""

    def behaviour(connection, head, server):
        headers, body = _partial(head, server)
        answer(connection, "206 Partial Content", headers, body[:after])
        for index in range(after, len(body)):
            connection.sendall(body[index : index + 1])
            if released.wait(0.01):
                break
        return CLOSE

    return behaviour


def reset(connection, head, server):
    """Reset the connection instead of answering."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return CLOSE


def reset_within(received, after):
    """Reset the connection in the middle of the body, once the first ``after`` bytes were received (an event)."""

    def behaviour(connection, head, server):
        headers, body = _partial(head, server)
        answer(connection, "206 Partial Content", headers, body[:after])
        received.wait()
        return reset(connection, head, server)

    return behaviour


def reset_after(count):
    """Reset the connection when ``count`` bytes of the body have gone out and been received."""

    def behaviour(connection, head, server):
        headers, body = _partial(head, server)
        answer(connection, "206 Partial Content", headers, body[:count])
        _await_receipt(connection)
        return reset(connection, head, server)

    return behaviour


def _await_receipt(connection):
    """Wait until the other side's kernel has everything: a reset throws away what is still on its way."""
    while struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]:
        time.sleep(0.001)  # the kernel tells nobody


def garbage(connection, head, server):
    """Answer in no protocol at all."""
    connection.sendall(b"\x00\x01\x02 what?\r\n\r\n")
    return CLOSE


def status(code, body=b"", **headers):
    """Answer with a status."""

    def behaviour(connection, head, server):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer(connection, f"{code} Whatever", {"Content-Length": len(body), **named}, body)

    return behaviour
