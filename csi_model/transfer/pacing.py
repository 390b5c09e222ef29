"""Pace: the node's limit of bytes per second, shared by all transfers."""

import threading
import time
from collections.abc import Callable


class Pace:
    """Tells how long to wait after bytes arrived, so that the rate stays under a limit.

    What arrives is paid for afterwards, so a limit lower than one block per second works too.

    Args:
        rate: bytes per second; 0 for no limit.
        clock: seconds, monotonic.

    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._paid_until = 0.0

    def delay(self, size: int) -> float:
        """Count ``size`` bytes and return the seconds to wait before asking for more."""
        if not self._rate:
            return 0.0
        now = self._clock()
        with self._lock:
            self._paid_until = max(self._paid_until, now) + size / self._rate
            return self._paid_until - now
