"""The webhook's server over real TLS, against clients of all kinds."""

import datetime as dt
import socket
import ssl
import threading

import pytest

from csi_model.cluster.webhook import certificates, renewing
from csi_model.cluster.webhook.serving import MAX_BODY
from tests.cluster.webhook.conftest import NAMES, PATIENCE, Client


class Gate:
    """A review that takes as long as the test wants."""

    def __init__(self):
        self.entered, self.open = threading.Semaphore(0), threading.Event()

    def review(self, body):
        self.entered.release()
        assert self.open.wait(PATIENCE)
        return body


def closed(connection):
    """Wait for a raw connection to say something, and tell whether it was nothing."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_a_review_is_answered(serving, call):
    with call(serving()) as client:
        assert client.post(b"review", path="/mutate?timeout=3s") == (200, b"REVIEW")


def test_a_connection_is_kept_for_the_next_review(serving, call):
    with call(serving()) as client:
        assert [client.post(body)[1] for body in (b"a", b"b", b"c")] == [b"A", b"B", b"C"]


def test_an_answer_is_json(serving, call):
    with call(serving()) as client:
        answer = client.raw(b"POST /mutate HTTP/1.0\r\nContent-Length: 1\r\n\r\nx")
    assert b"Content-Type: application/json\r\n" in answer


def test_both_names_are_served_and_no_other(serving, call):
    server = serving()
    with call(server, name=NAMES[1]) as client:
        assert client.post(b"x") == (200, b"X")
    with pytest.raises(ssl.SSLCertVerificationError):
        call(server, name="csi-model-webhook.other.svc")


def test_tls_1_2_is_the_oldest_that_is_served(serving, kept):
    old = ssl.create_default_context(cadata=kept.bundle.decode())
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", serving().port), timeout=PATIENCE) as raw,
        old.wrap_socket(raw, server_hostname=NAMES[0]) as tls,
    ):
        assert tls.version() == "TLSv1.2"
    assert renewing.context_of(kept).minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/", 404), ("GET", "/mutate", 405), ("PUT", "/mutate", 405)]
)
def test_only_post_to_mutate_is_served(serving, call, method, path, status):
    with call(serving()) as client:
        assert client.post(b"x", path=path, method=method)[0] == status


def test_what_is_no_review_is_a_bad_request(serving, call):
    def refuse(_):
        raise ValueError("it is none")

    with call(serving(refuse)) as client:
        assert client.post(b"x") == (400, b"it is none\n")
        assert client.post(b"x")[0] == 400


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", b"411"), (b"Content-Length: -1\r\n", b"411"), (b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", b"411"),
        (b"Content-Length: %d\r\n" % (MAX_BODY + 1), b"413"), (b"Content-Length: %s\r\n" % (b"9" * 5000), b"413"),
    ],
)  # fmt: skip
def test_a_body_of_unknown_or_too_great_length_is_refused(serving, call, head, status):
    with call(serving()) as client:
        assert client.raw(b"POST /mutate HTTP/1.1\r\n" + head + b"\r\n").split()[1] == status


@pytest.mark.parametrize(
    "sent", [b"\0\1\2\r\n\r\n", b"POST\r\n\r\n", b"POST /mutate HTTP/1.1\r\nContent-Length: 5\r\n\r\nx", b""]
)
def test_what_is_no_request_is_hung_up_on(serving, call, sent):
    server = serving(patience=0.3, silence=0.3)
    with call(server) as client:
        assert not client.raw(sent).startswith(b"HTTP/1.1 200")
    with call(server) as client:
        assert client.post(b"x") == (200, b"X")


def test_a_client_that_speaks_no_tls_is_hung_up_on(serving, call):
    server = serving(patience=0.3)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as silent:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while plain.recv(4096):  # an alert
                pass
        assert closed(silent)
    with call(server) as client:
        assert client.post(b"x") == (200, b"X")


def test_a_client_that_goes_away_disturbs_nobody_and_what_it_began_is_not_reviewed(serving, call):
    reviewed = []
    server = serving(lambda body: reviewed.append(body) or body)
    with call(server) as client:
        client.tls.sendall(b"POST /mutate HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")
    with socket.create_connection(("127.0.0.1", server.port)):
        pass
    with call(server) as client:
        assert client.post(b"x") == (200, b"x")
    server.close(PATIENCE)
    assert reviewed == [b"x"]


def test_one_more_takes_the_place_of_the_one_that_was_silent_the_longest(serving, call):
    server = serving(connections=2)
    with call(server) as first, call(server) as second:
        second.post(b"x")
        first.post(b"x")
        with call(server) as third:
            assert third.post(b"y") == (200, b"Y")
            assert second.is_over()
            assert first.post(b"z") == (200, b"Z")


def test_one_more_takes_the_place_of_one_that_does_not_ask(serving, call):
    server = serving(connections=1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as idle:
        with call(server) as client:
            assert client.post(b"x") == (200, b"X")
        assert closed(idle)


def test_without_a_thread_for_it_a_client_is_hung_up_on(serving, call, monkeypatch):
    server = serving(connections=1)

    def fail(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(OSError):
            call(server)
    with call(server) as client:
        assert client.post(b"x") == (200, b"X")


def test_reviews_that_are_being_made_keep_their_places(serving, call):
    gate = Gate()
    server = serving(gate.review, connections=1)
    with call(server) as client:
        client.tls.sendall(b"POST /mutate HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
        assert gate.entered.acquire(timeout=PATIENCE)
        with pytest.raises(OSError):
            call(server)
        gate.open.set()
        assert client.tls.recv(12) == b"HTTP/1.1 200"


def test_a_new_certificate_is_served_to_new_clients_and_disturbs_no_old_one(serving, call, kept):
    other = certificates.renewed(certificates.Kept(), NAMES, dt.datetime.now(dt.UTC))
    current = [renewing.context_of(kept)]
    server = serving(certificate=lambda: current[0])
    with call(server) as old:
        current[0] = renewing.context_of(other)
        with Client(server.port, other.bundle) as new:
            assert new.post(b"x") == (200, b"X")
        assert old.post(b"y") == (200, b"Y")


def test_without_a_certificate_nobody_is_answered(serving):
    with socket.create_connection(("127.0.0.1", serving(certificate=lambda: None).port), timeout=PATIENCE) as client:
        assert closed(client)


def test_at_the_end_answers_that_are_being_made_are_given(serving, call):
    gate = Gate()
    server = serving(gate.review)
    with call(server) as busy, call(server) as silent:
        silent_is_over = threading.Thread(target=silent.is_over)
        busy.tls.sendall(b"POST /mutate HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
        assert gate.entered.acquire(timeout=PATIENCE)
        silent_is_over.start()
        ending = threading.Thread(target=server.close, args=(10**6,), daemon=True)
        ending.start()
        silent_is_over.join(PATIENCE)
        gate.open.set()
        answer = b"".join(iter(lambda: busy.tls.recv(4096), b""))
        ending.join(PATIENCE)
        assert not ending.is_alive()
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"x")


def test_at_the_end_nobody_waits_for_an_answer_that_does_not_come(serving, call):
    gate = Gate()
    server = serving(gate.review)
    with call(server) as client:
        client.tls.sendall(b"POST /mutate HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
        assert gate.entered.acquire(timeout=PATIENCE)
        server.close(0)
        assert client.is_over()
        gate.open.set()


def test_many_reviews_at_once_are_all_answered(serving, call):
    server, answers = serving(), []

    def ask(n):
        with call(server) as client:
            answers.extend(client.post(b"%d" % n) for _ in range(20))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(answers) == sorted((200, b"%d" % n) for n in range(8) for _ in range(20))
