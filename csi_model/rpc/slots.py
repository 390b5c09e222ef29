"""Slots: how many calls may wait at once, so that calls which answer at once always find a thread.

A gRPC server has one pool of threads. NodeStageVolume waits for minutes and CreateVolume for seconds; were they to
fill the pool, Probe would time out and the driver be restarted in the middle of its downloads. So each takes a slot
from a counter, and the counters together are smaller than the pool.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from csi_model.errors import TooManyCalls


class Slots:
    """A counter of calls that may wait.

    Args:
        call: the RPC's name, for the error's text.
        count: how many may wait at once.

    """

    def __init__(self, call: str, count: int) -> None:
        self._call = call
        self._count = count
        self._free = threading.BoundedSemaphore(count)

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a slot for the time of a ``with`` block; never waits.

        Raises:
            TooManyCalls: none is free.

        """
        if not self._free.acquire(blocking=False):
            raise TooManyCalls(
                f"{self._count} {self._call} calls are waiting already: this one is served when it is repeated"
            )
        try:
            yield
        finally:
            self._free.release()
