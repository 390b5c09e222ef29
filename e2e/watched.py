"""What happens to objects, and when: a watch of the API, heard from its beginning to its end."""

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from e2e.cluster import place
from e2e.cluster.cluster import Cluster
from e2e.cluster.shell import TookTooLong
from e2e.kube import Object

NODES = "/api/v1/nodes"
MODEL_NODES = "/apis/csi-model.io/v1alpha1/modelnodes"
_PORT = 443


class Heard(NamedTuple):
    """One event of a watch.

    Attributes:
        at: when it was heard, in seconds since 1970.
        what: ADDED, MODIFIED or DELETED.
        item: the object, as it is after it.

    """

    at: float
    what: str
    item: Object

    @property
    def name(self) -> str:
        return str(self.item["metadata"]["name"])


class Watch:
    """What was heard so far, in order; first the objects that there were."""

    def __init__(self) -> None:
        self._heard: list[Heard] = []
        self._news = threading.Condition()

    def add(self, one: Heard) -> None:
        with self._news:
            self._heard.append(one)
            self._news.notify_all()

    def all(self, name: str = "") -> list[Heard]:
        """Return what was heard, of all objects or of one."""
        with self._news:
            return [one for one in self._heard if name in ("", one.name)]

    def wait(self, look: Callable[[Heard], bool], timeout: float, what: str) -> Heard:
        """Return the first event, of those to come too, that `look` accepts; TookTooLong."""
        deadline, seen = time.monotonic() + timeout, 0
        with self._news:
            while True:
                found = next((one for one in self._heard[seen:] if look(one)), None)
                if found is not None:
                    return found
                seen = len(self._heard)
                if not self._news.wait(deadline - time.monotonic()):
                    raise TookTooLong(f"not heard within {timeout:.0f} s: {what}")

    def values(self, name: str, read: Callable[[Object], str]) -> list[tuple[float, str]]:
        """Return what a value of one object was, and since when, each time that it changed."""
        found: list[tuple[float, str]] = []
        for one in self.all(name):
            value = "" if one.what == "DELETED" else read(one.item)
            if not found or found[-1][1] != value:
                found.append((one.at, value))
        return found


@contextmanager
def watching(cluster: Cluster, path: str) -> Iterator[Watch]:
    """Watch a collection, as the cluster's administrator, until the end of the block.

    Args:
        cluster: whose API.
        path: of the collection, such as `/api/v1/nodes`.

    """
    trust = ssl.create_default_context(cafile=str(cluster.pki.ca))
    trust.load_cert_chain(cluster.pki.certificate("admin"), cluster.pki.key("admin"))
    connection = http.client.HTTPSConnection(place.CLUSTER_IP, _PORT, context=trust)
    connection.request("GET", f"{path}?watch=true")
    answer = connection.getresponse()
    assert answer.status == http.client.OK, answer.read()
    watch = Watch()
    thread = threading.Thread(target=_hear, args=(answer, watch), name=f"watch of {path}")
    thread.start()
    try:
        yield watch
    finally:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
        thread.join()
        connection.close()


def _hear(answer: http.client.HTTPResponse, watch: Watch) -> None:
    with suppress(OSError, http.client.HTTPException, ValueError):  # the end: our side has closed
        while line := answer.readline():
            said = json.loads(line)
            watch.add(Heard(time.time(), said["type"], said["object"]))
