"""Bucket: how many changes may be written now, so that the API server isn't flooded."""

from collections.abc import Callable
from time import monotonic


class Bucket:
    """A token bucket; full in the beginning. For one thread at a time.

    Args:
        rate: tokens per second that come in.
        burst: tokens that it holds at most.
        clock: seconds, monotonic.

    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens = float(burst)
        self._at = clock()

    def take(self, *, leave: float = 0.0) -> float:
        """Take a token if ``leave`` others stay; return 0, or the seconds until it may be taken."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        lacking = leave + 1 - self._tokens
        if lacking > 1e-9:  # noqa: PLR2004 - what floats are off by
            return lacking / self._rate
        self._tokens -= 1
        return 0.0
