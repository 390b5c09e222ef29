"""Bell: rings when something has changed that others want to know; it doesn't say what."""

from collections.abc import Callable

Ring = Callable[[], None]
"""Says that something has changed. Short, never raises, and may come with locks held."""


def nobody() -> None:
    """Tell nobody."""


class Bell:
    """Rings for all who listen."""

    def __init__(self) -> None:
        self._ears: tuple[Ring, ...] = ()

    def listen(self, ear: Ring) -> None:
        """Have something called at each ring from now on."""
        self._ears = (*self._ears, ear)

    def ring(self) -> None:
        """Say that something has changed."""
        for ear in self._ears:
            ear()
