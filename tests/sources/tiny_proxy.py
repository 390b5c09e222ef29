"""A real HTTP proxy of the smallest kind: absolute URLs for http, CONNECT for the rest."""

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit


class TinyProxy:
    """A context manager; ``heads`` has what clients asked it for."""

    def __init__(self):
        self.heads = []
        self._sockets = []
        self._threads = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        for sock in [self._listener, *self._sockets]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in [self._listener, *self._sockets]:
            sock.close()

    def _start(self, target, *args):
        self._threads.append(threading.Thread(target=target, args=args))
        self._threads[-1].start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._start(self._serve, client)

    def _serve(self, client):
        data = b""
        while b"\r\n\r\n" not in data:
            block = client.recv(65536)
            if not block:
                return
            data += block
        line, rest = data.split(b"\r\n", 1)
        self.heads.append(data.decode("latin-1"))
        method, target, _ = line.decode().split()
        if method == "CONNECT":
            host, port = target.rsplit(":", 1)
        else:
            parts = urlsplit(target)
            host, port = parts.hostname, parts.port
            target = target.removeprefix(f"http://{parts.netloc}")
        server = socket.create_connection((host, int(port)))
        self._sockets.append(server)
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(f"{method} {target} HTTP/1.1\r\n".encode() + rest)
        self._start(_pump, client, server)
        _pump(server, client)


def _pump(source, sink):
    with suppress(OSError):
        while block := source.recv(65536):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)
