"""Asked: what was given to be written and hasn't been seen in the API yet, so that it isn't written twice."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from csi_model.cluster.steering.writes import Change, Rank, Target
from csi_model.errors import StoreUnusable

PATIENCE = 5.0
"""Seconds after a write in which a watch may still tell of what was before; then what it tells is believed."""


@dataclass(slots=True)
class _Ask:
    content: Any
    written: float | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Landed:
    """What became of a change.

    Attributes:
        target: of which object.
        content: what it should have.
        error: why it won't be written; None if it is.
        version: of the object then; 0 if it isn't known.

    """

    target: Target
    content: Any
    error: StoreUnusable | None
    version: int


class Asked:
    """For one thread, but for what :class:`Change` calls when it is done.

    Args:
        put: takes changes to be written.
        landed: called, from any thread, with what :meth:`land` is to be told.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        put: Callable[[Change], None],
        landed: Callable[[Landed], None],
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._put, self._landed, self._clock = put, landed, clock
        self._asks: dict[Target, _Ask] = {}

    def content(self, target: Target) -> Any:
        """Return what an object's content will be, as far as that was asked; None if nothing is on its way."""
        ask = self._asks.get(target)
        if ask is not None and ask.written is not None and self._clock() - ask.written >= PATIENCE:
            del self._asks[target]
            return None
        return ask.content if ask else None

    def settle(
        self, target: Target, rank: Rank, now: Any, due: Any, write: Callable[[], int], *, version: int = 0
    ) -> bool:
        """Ask for a change unless it is there or on its way.

        Args:
            target: of which object.
            rank: how urgent it is.
            now: the content that the watch tells.
            due: the content that it should have.
            write: makes it so, and returns the object's version then.
            version: of ``now``; 0 if it isn't known. One that isn't older than what was written shows that.

        Returns:
            Whether it is there, and nothing on its way that would change it.

        """
        ask = self._asks.get(target)
        if ask is not None and 0 < ask.version <= version:
            del self._asks[target]
        coming = self.content(target)
        if now == due and coming in (None, due):
            self._asks.pop(target, None)
            return True
        if coming is None or coming != due:
            self._asks[target] = _Ask(due)
            self._put(Change(target, rank, write, lambda *how: self._landed(Landed(target, due, *how))))
        return False

    def land(self, landed: Landed) -> None:
        """Take note that what was asked is written, or won't be."""
        ask = self._asks.get(landed.target)
        if ask is None or ask.content != landed.content:
            return
        if landed.error is None:
            ask.written, ask.version = self._clock(), landed.version
        else:
            del self._asks[landed.target]

    def forget(self, target: Target) -> None:
        """Forget an object that is gone."""
        self._asks.pop(target, None)

    def clear(self) -> None:
        """Forget everything."""
        self._asks.clear()
