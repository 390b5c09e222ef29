"""The HTTP server against clients of all kinds, over real sockets."""

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from csi_model.errors import InvalidArgument, StoreUnusable
from csi_model.rpc.web import Answer, WebServer

PATIENCE = 30


@pytest.fixture
def serving() -> Iterator[Any]:
    made: list[WebServer] = []

    def serve(address: str = "127.0.0.1:0", **how: Any) -> WebServer:
        pages = {"/healthz": lambda: Answer(200, b"ok\n"), "/broken": lambda: Answer(503, b"the reason\n")}
        made.append(WebServer(address, pages | how.pop("pages", {}), **how))
        made[-1].start()
        return made[-1]

    yield serve
    for server in made:
        server.close()


def get(server: WebServer, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, bytes, Any]:
    request = urllib.request.Request(f"http://{host}:{server.port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def raw(server: WebServer, sent: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    client.sendall(sent)
    return client


def test_a_page_is_served(serving: Any) -> None:
    status, body, headers = get(serving(), "/healthz?verbose")
    assert (status, body, headers["Content-Type"]) == (200, b"ok\n", "text/plain; charset=utf-8")


def test_a_failure_tells_its_reason(serving: Any) -> None:
    assert get(serving(), "/broken")[:2] == (503, b"the reason\n")


def test_head_has_no_body(serving: Any) -> None:
    with raw(serving(), b"HEAD /healthz HTTP/1.0\r\n\r\n") as client:
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.0 200 ")
    assert b"Content-Length: 3\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("path", ["/", "/healthz/", "/../etc/passwd", "/healthz/../healthz", "/metrics"])
def test_anything_else_is_not_found(serving: Any, path: str) -> None:
    status, body, _ = get(serving(), path)
    assert (status, body) == (404, b"not found; there are /healthz, /broken\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_only_get_and_head_are_allowed(serving: Any, method: str) -> None:
    status, _, headers = get(serving(), "/healthz", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "said", [b"hello\r\n\r\n", b"GET /\xff<b> HTTP/9.9\r\n\r\n", b"GET " + b"x" * 70_000 + b"\r\n\r\n"]
)
def test_what_is_no_http_gets_a_short_answer_without_its_own_words(serving: Any, said: bytes) -> None:
    with raw(serving(), said) as client:
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert b"ok" not in answer
    assert b"<b>" not in answer
    assert 0 < len(answer) < 500


def test_silent_clients_make_room_for_one_that_asks(serving: Any) -> None:
    server = serving(connections=3, patience=1000)
    silent = [raw(server) for _ in range(10)]
    slow = [raw(server, b"GET /healthz HTTP/1.1\r\nX: ") for _ in range(10)]
    assert get(server, "/healthz")[0] == 200
    for client in silent + slow:
        client.close()


def test_a_slow_client_is_hung_up_on(serving: Any) -> None:
    with raw(serving(patience=0.1), b"GET /healthz HTTP/1.1\r\nX: ") as client:
        assert client.recv(100) == b""


def test_drip_fed_bytes_gain_no_time(serving: Any) -> None:
    with raw(serving(patience=0.3), b"GET /healthz HTTP/1.1\r\nX: ") as client:
        client.settimeout(0.05)
        for _ in range(20 * PATIENCE):
            try:
                client.sendall(b"x")
                assert client.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                pass
            return
    pytest.fail("it still listens")


def test_a_page_that_hangs_stops_no_other(serving: Any) -> None:
    over = threading.Event()
    began = threading.Semaphore(0)

    def hangs() -> Answer:
        began.release()
        over.wait(PATIENCE)
        return Answer(200, b"late")

    server = serving(pages={"/hangs": hangs})
    clients = [raw(server, b"GET /hangs HTTP/1.0\r\n\r\n") for _ in range(5)]
    for _ in clients:
        assert began.acquire(timeout=PATIENCE)
    assert get(server, "/healthz")[0] == 200
    over.set()
    for client in clients:
        client.close()


def test_with_no_address_both_ip_versions_are_served(serving: Any) -> None:
    server = serving(":0")
    assert get(server, "/healthz")[0] == 200
    if socket.has_dualstack_ipv6():
        assert get(server, "/healthz", host="[::1]")[0] == 200


def test_an_address_is_the_only_one(serving: Any) -> None:
    server = serving("127.0.0.1:0")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", server.port), timeout=PATIENCE)


@pytest.mark.parametrize(
    "address", ["", "9808", "localhost", ":", ":x", ":-1", ":70000", "::1:9808", "[127.0.0.1]:1", ":²"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument, match="http: "):
        WebServer(address, {})


def test_a_port_that_is_taken_is_told(serving: Any) -> None:
    server = serving()
    with pytest.raises(StoreUnusable, match=f"can't listen on 127.0.0.1:{server.port}"):
        WebServer(f"127.0.0.1:{server.port}", {})
