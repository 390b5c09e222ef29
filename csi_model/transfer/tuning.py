"""Tuner: how many streams, by trial: more only while they help, fewer when fewer do as well.

One link and one disk are filled by a handful of streams; a far-away object store gives each stream a fraction of the
link. Nobody can know beforehand, so the number is tried out: a window at the present number, a window at another, and
the better one stays. Windows in which there wasn't work for all streams prove nothing and are not used.
"""

from enum import Enum

_WINDOW = 1.0  # seconds of one measurement: several spans per stream on a fast link
_SETTLE = 0.25  # seconds after a change that are not measured
_REST = 15  # windows between two trials once nothing helps any more
_GAIN = 0.4  # part of the ideal gain that more streams must bring to stay
_LOSS = 0.03  # part of the rate that fewer streams may cost


class _Trial(Enum):
    NONE = 0
    MORE = 1
    FEWER = -1


class Tuner:
    """Decides the number of streams. Not safe to use from several threads by itself.

    Args:
        least: streams at least.
        start: streams in the beginning.
        most: streams at most.

    Attributes:
        limit: streams now.

    """

    def __init__(self, least: int, start: int, most: int) -> None:
        self._least = min(least, start)
        self._most = max(start, most)
        self.limit = start
        self._trial = _Trial.NONE
        self._proven = (start, 0.0)  # the number that was measured before the trial, and its bytes per second
        self._next = _Trial.MORE
        self._rest = 0
        self._heard = float("-inf")  # when the source last asked for fewer
        self._restart(0.0)

    def _restart(self, now: float) -> None:
        self._begin = now + _SETTLE
        self._bytes = 0
        self._busy = True

    def received(self, size: int, now: float, *, busy: bool) -> None:
        """Count bytes.

        Args:
            size: how many arrived.
            now: seconds, monotonic.
            busy: whether all streams have work.

        """
        self._busy = self._busy and busy
        if now < self._begin:
            return
        self._bytes += size
        elapsed = now - self._begin
        if elapsed >= _WINDOW:
            if self._busy and elapsed < 2 * _WINDOW:  # a longer one had a pause in it
                self._judge(self._bytes / elapsed)
            self._restart(now)

    def slow_down(self, now: float) -> None:
        """Halve the number, since the source asked for it; it is tried to have more again after a rest."""
        if now - self._heard >= _WINDOW:  # once for all streams that were told so together
            self._heard = now
            self.limit = max(1, self.limit // 2)
            self._trial, self._next, self._rest = _Trial.NONE, _Trial.MORE, _REST
            self._restart(now + _WINDOW)

    def _judge(self, rate: float) -> None:
        before, proven = self._proven
        if self._trial is _Trial.NONE:
            self._proven = (self.limit, rate)
            self._rest -= 1
            if self._rest < 0:
                self._try(self._next)
            return
        change = self.limit / before - 1
        kept = rate >= proven * (1 + _GAIN * change if change > 0 else 1 - _LOSS)
        trial = self._trial
        if kept:
            self._proven = (self.limit, rate)
            self._try(trial)
        else:
            self.limit = before
            self._end(trial)

    def _try(self, trial: _Trial) -> None:
        step = max(1, self.limit // 4)
        wanted = min(self._most, max(self._least, self.limit + step * trial.value))
        if wanted == self.limit:
            self._end(trial)
        else:
            self._trial, self.limit = trial, wanted

    def _end(self, trial: _Trial) -> None:
        self._trial = _Trial.NONE
        self._next = _Trial.FEWER if trial is _Trial.MORE else _Trial.MORE
        self._rest = 0 if trial is _Trial.MORE else _REST
