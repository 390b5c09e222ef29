"""What the process says of itself over HTTP: /healthz, /readyz and /metrics.

/healthz is a real Probe through the CSI socket, with a connection of its own as kubelet makes it: what it calls healthy
does answer. /readyz also wants what kubelet or the cluster has to do with us.
"""

import logging
import threading
from collections.abc import Callable, Sequence
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


def pages(endpoint: str, metrics: Metrics, *, ready: Sequence[Problem] = ()) -> Pages:
    """Return the three pages.

    Args:
        endpoint: the driver's own socket.
        metrics: what /metrics shows.
        ready: what has to be right besides the Probe for /readyz.

    """
    scrapes = threading.BoundedSemaphore(_SCRAPES)

    def healthy() -> Answer:
        try:
            probe(endpoint)
        except CsiModelError as error:
            return _unavailable(_said(error))
        return Answer(HTTPStatus.OK, b"ok\n")

    def is_ready() -> Answer:
        problems = [problem for problem in (ask() for ask in ready) if problem]
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
