import queue
import threading
from time import monotonic

import pytest

from csi_model.cluster.watching import Watch

PATH = "/api/v1/persistentvolumes"
LINE = b'{"type": "ADDED", "object": {"metadata": {"name": "odd"}}}\n'


def volume(name, **spec):
    return {"metadata": {"name": name}, "spec": spec}


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self):
        self.all = queue.SimpleQueue()

    def replaced(self, objects):
        self.all.put({name: value for (_, name), value in objects.items()})

    def changed(self, key, value):
        self.all.put((key[1], value))

    def next(self):
        return self.all.get(timeout=10)


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def watch(api, heard):
    watch = Watch(api, PATH, lambda item: item.get("spec", {}).get("x"), heard, pause=0.01)
    yield watch
    watch.stop()


def begun(server, watch):
    watch.start()
    server.wait_for_watch("persistentvolumes")
    return watch


def test_what_is_there_comes_first_then_each_change(server, watch, heard):
    server.create(PATH, volume("a", x=1))
    begun(server, watch)
    assert heard.next() == {"a": 1}
    assert watch.synced.is_set()
    server.create(PATH, volume("b", x=2))
    server.patch(f"{PATH}/b", {"spec": {"x": 3}})
    server.delete(f"{PATH}/a")
    assert [heard.next() for _ in range(3)] == [("b", 2), ("b", 3), ("a", None)]


def test_what_is_of_no_interest_is_left_out_and_gone_when_it_loses_it(server, watch, heard):
    server.create(PATH, volume("a", x=1))
    server.create(PATH, volume("dull"))
    begun(server, watch)
    assert heard.next() == {"a": 1}
    server.patch(f"{PATH}/a", {"spec": {"x": None}})
    assert heard.next() == ("a", None)


def test_a_long_list_comes_in_pages_and_is_told_at_once(server, watch, heard):
    for number in range(600):
        server.create(PATH, volume(f"v{number:03}", x=number))
    begun(server, watch)
    assert len(heard.next()) == 600
    assert server.requests.count(("list", PATH)) == 3


def test_what_is_not_selected_is_not_there_and_goes_when_it_is_not_any_more(server, api, heard):
    for name in ("a", "b"):
        server.create(PATH, volume(name, x=1))
    watch = Watch(api, PATH, lambda item: item["spec"]["x"], heard, query={"fieldSelector": "spec.x!=2"}, page=1)
    begun(server, watch)
    assert heard.next() == {"a": 1, "b": 1}
    assert server.requests.count(("list", PATH)) == 2
    server.create(PATH, volume("c", x=2))
    server.patch(f"{PATH}/b", {"spec": {"x": 2}})
    assert ("b", None) in [heard.next(), heard.next()]
    watch.stop()


def test_a_watch_that_ends_goes_on_where_it_was(server, watch, heard):
    begun(server, watch)
    server.create(PATH, volume("a", x=1))
    assert [heard.next(), heard.next()] == [{}, ("a", 1)]
    server.end_watches()
    server.create(PATH, volume("b", x=2))
    assert heard.next() == ("b", 2)
    assert server.requests.count(("list", PATH)) == 1


def test_a_connection_that_breaks_loses_nothing(server, watch, heard):
    begun(server, watch)
    assert heard.next() == {}
    server.drop()
    server.create(PATH, volume("a", x=1))
    assert heard.next() == ("a", 1)


def test_a_version_that_is_too_old_means_everything_anew(server, watch, heard):
    server.create(PATH, volume("a", x=1))
    begun(server, watch)
    assert heard.next() == {"a": 1}
    server.failures = [410]
    server.end_watches()
    assert heard.next() == {"a": 1}


def test_an_expired_watch_means_everything_anew(server, watch, heard):
    server.create(PATH, volume("a", x=1))
    begun(server, watch)
    assert heard.next() == {"a": 1}
    server.objects.compact()
    assert heard.next() == {"a": 1}


def test_a_list_that_expires_between_two_pages_is_begun_anew(server, watch, heard):
    for number in range(300):
        server.create(PATH, volume(f"v{number:03}", x=number))
    page = server.objects.page

    def expiring(*arguments):
        server.objects.page = page
        answer = page(*arguments)
        server.objects.compact()
        return answer

    server.objects.page = expiring
    begun(server, watch)
    assert len(heard.next()) == 300


@pytest.mark.parametrize("failures", [[500, 429, 503], [403], [-1, -1], [404]])
def test_an_api_that_fails_is_asked_again(server, watch, heard, failures):
    server.failures = list(failures)
    server.create(PATH, volume("a", x=1))
    watch.start()
    assert heard.next() == {"a": 1}


@pytest.mark.parametrize(
    "line",
    [
        b"no json\n", b"[]\n", b"{}\n", b'{"type": "ADDED"}\n', b'{"type": "ADDED", "object": 7}\n', b"\n",
        b'{"type": "ADDED", "object": {"metadata": 7}}\n', b'{"type": 7, "object": {"metadata": {"name": "a"}}}\n',
        b'{"type": "ADDED", "object": {"metadata": {"name": 7}}}\n', b"[" * 100_000 + b"\n", b"\xff\n",
        b'{"type": "ERROR", "object": {"code": 410}}\n', b'{"type": "ERROR", "object": {}}\n',
    ],
)  # fmt: skip
def test_a_line_that_makes_no_sense_stops_nothing(server, watch, heard, line):
    server.raw_lines = [line]
    begun(server, watch)
    assert heard.next() == {}
    server.create(PATH, volume("a", x=1))
    while (news := heard.next()) not in (("a", 1), {"a": 1}):
        assert news == {}


def test_a_line_without_an_end_is_not_kept(server, watch, heard, monkeypatch):
    monkeypatch.setattr("csi_model.cluster.lines._MAX_LINE", 1000)
    server.raw_lines = [b"x" * 100_000]
    begun(server, watch)
    assert heard.next() == {}
    with server.watches_began:
        assert server.watches_began.wait_for(lambda: server.requests.count(("watch", PATH)) > 1, timeout=10)


def test_a_version_that_only_makes_trouble_is_not_trusted_for_ever(server, watch, heard):
    begun(server, watch)
    assert heard.next() == {}
    server.failures = [500] * 3
    server.end_watches()
    assert heard.next() == {}
    assert server.requests.count(("list", PATH)) > 1


def test_it_stops_at_once_while_it_waits_for_news(server, watch, heard):
    begun(server, watch)
    heard.next()
    began = monotonic()
    watch.stop(timeout=30)
    assert not watch._thread.is_alive()
    assert monotonic() - began < 5


def test_it_stops_while_the_api_is_gone(server, watch):
    server.failures = [500] * 1000
    watch.start()
    watch.stop(timeout=30)
    assert not watch._thread.is_alive()


def test_it_stops_without_having_begun(watch):
    watch.stop()


def test_nobody_is_told_after_the_stop(server, watch, heard):
    begun(server, watch)
    heard.next()
    watch.stop(timeout=30)
    server.create(PATH, volume("a", x=1))
    assert heard.all.empty()


def test_threads_are_named_for_what_they_watch(server, watch):
    begun(server, watch)
    assert "watch persistentvolumes" in {thread.name for thread in threading.enumerate()}
