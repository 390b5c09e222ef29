"""Stragglers: streams that are far slower than the others, usually for a bad connection or a sick server behind it.

Such a stream is cut off and goes on where it was, over a new connection. Near the end of a transfer that is what
decides when the last byte arrives.
"""

from collections import deque
from collections.abc import Collection
from statistics import median

from csi_model.sources.base import Abort

WINDOW = 2.0  # seconds over which a stream's rate is measured
_PART = 8  # times slower than the others usually are
_CUTS = 2  # per run: if new connections don't help, the source is slow there, and that is that
_ENOUGH = 4  # rates whose median says what is usual
_REMEMBERED = 16  # … of the last so many


class Flight:
    """A run of chunks that is being fetched by one stream.

    Args:
        now: seconds, monotonic.
        block: bytes that are counted at a time, at most: so many may have come that nobody knows of yet.

    Attributes:
        abort: cuts its connection.
        cuts: how often that was done.

    """

    def __init__(self, now: float, block: int) -> None:
        self.abort = Abort()
        self.cuts = 0
        self._block = block
        self._bytes = 0
        self._since = now

    def received(self, size: int) -> None:
        """Count bytes; by the stream's own thread."""
        self._bytes += size

    def rate(self, now: float) -> float:
        """Return bytes per second since the window began."""
        return self._bytes / max(now - self._since, 1e-6)

    def rate_at_most(self, now: float) -> float:
        """Return the bytes per second if all of the block that is on its way were here."""
        return (self._bytes + self._block) / max(now - self._since, 1e-6)

    def window_over(self, now: float) -> bool:
        """Tell whether it is time to measure."""
        return now - self._since >= WINDOW

    def begin_window(self, now: float) -> None:
        """Measure from now on."""
        self._bytes, self._since = 0, now


class Stragglers:
    """Finds them. What was usual while several streams ran is remembered: at the end only the straggler is left."""

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=_REMEMBERED)

    def finished(self, flight: Flight, now: float) -> None:
        """Remember how fast a flight was."""
        self._rates.append(flight.rate(now))

    def find(self, flights: Collection[Flight], now: float) -> list[Flight]:
        """Return the flights to cut off now, and count that they were; for one thread.

        Args:
            flights: what is under way.
            now: seconds, monotonic.

        """
        measured = [(flight, flight.rate(now)) for flight in flights if flight.window_over(now)]
        self._rates.extend(rate for _, rate in measured)
        rates = list(self._rates)
        usual = median(rates) if len(rates) >= _ENOUGH else 0.0
        suspects = [flight for flight, rate in measured if rate * _PART < usual and flight.cuts < _CUTS]
        slow = [flight for flight in suspects if flight.rate_at_most(now) * _PART < usual]
        for flight, _ in measured:
            if flight in slow or flight not in suspects:  # a suspect's window grows until it is clear what it is
                flight.begin_window(now)
        for flight in slow:
            flight.cuts += 1
        return slow
