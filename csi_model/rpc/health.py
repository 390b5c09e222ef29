"""What the process says of itself over HTTP: /healthz, /readyz and /metrics.

/healthz is a real Probe through the CSI socket, with a connection of its own as kubelet makes it: what it calls healthy
does answer. /readyz also wants what kubelet or the cluster has to do with us.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus

from csi_model.errors import CsiModelError
from csi_model.rpc.client import CsiClient, Refused
from csi_model.rpc.metrics import CONTENT_TYPE, Metrics
from csi_model.rpc.web import Answer, Pages

log = logging.getLogger(__name__)
DEADLINE = 2.0
"""Seconds for a Probe; livenessProbes are given three."""
_SCRAPES = 2  # at once: a disk that hangs must not take every connection's thread
Problem = Callable[[], str | None]
"""Tells why something isn't ready; None if it is. Answers at once."""


def probe(endpoint: str, *, timeout: float = DEADLINE) -> None:
    """Ask the driver on a socket whether it is well.

    Raises:
        Refused: it isn't, or doesn't answer in time.

    """
    with CsiClient(endpoint) as client:
        client.probe(timeout=timeout)


class Shared:
    """A question that is asked once at a time: who comes while it is being asked gets that answer.

    So however many ask for /healthz, kubelet's own request is not behind theirs.

    Args:
        ask: returns nothing, or raises.

    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._asking: Future[None] | None = None

    def __call__(self) -> None:
        """Ask, or wait for the answer to who asks already; raises what ``ask`` raised."""
        mine: Future[None] = Future()
        with self._lock:
            answer = self._asking = self._asking or mine
        if answer is mine:
            try:
                self._ask()
                answer.set_result(None)
            except BaseException as error:  # noqa: BLE001 - it is raised below, in everybody's thread
                answer.set_exception(error)
            with self._lock:
                self._asking = None
        answer.result()


def pages(endpoint: str, metrics: Metrics, *, ready: Sequence[Problem] = ()) -> Pages:
    """Return the three pages.

    Args:
        endpoint: the driver's own socket.
        metrics: what /metrics shows.
        ready: what has to be right besides the Probe for /readyz.

    """
    scrapes = threading.BoundedSemaphore(_SCRAPES)
    ask = Shared(partial(probe, endpoint))

    def healthy() -> Answer:
        try:
            ask()
        except CsiModelError as error:
            return _unavailable(_said(error))
        return Answer(HTTPStatus.OK, b"ok\n")

    def is_ready() -> Answer:
        problems = [problem for problem in (look() for look in ready) if problem]
        return _unavailable("; ".join(problems)) if problems else healthy()

    def scrape() -> Answer:
        if not scrapes.acquire(blocking=False):
            return _unavailable("other scrapes are waiting for this process's figures")
        try:
            return Answer(HTTPStatus.OK, metrics.page(), CONTENT_TYPE)
        except (OSError, CsiModelError) as error:
            log.warning("metrics: %s", error)
            return _unavailable(f"a figure can't be read: {error}")
        finally:
            scrapes.release()

    return {"/healthz": healthy, "/readyz": is_ready, "/metrics": scrape}


def _said(error: CsiModelError) -> str:
    if isinstance(error, Refused) and error.code == "DEADLINE_EXCEEDED":
        return f"the driver doesn't answer a Probe within {DEADLINE:.0f} s"
    return f"the driver isn't well: {error}"


def _unavailable(why: str) -> Answer:
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{why}\n".encode())
