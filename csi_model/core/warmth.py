"""Warmth: how much of a Revision a node holds, and the words that tell it.

A Revision is *cold* (nothing here), *warming* (n of m bytes are here) or *staged* (the whole verified copy is here).
"""

from dataclasses import dataclass
from enum import StrEnum

from csi_model.core.units import bytes_text, duration_text, rate_text


class Warmth(StrEnum):
    """The three states of a Revision on a node."""

    COLD = "cold"
    WARMING = "warming"
    STAGED = "staged"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a warm-up is, at one instant.

    Attributes:
        total: bytes of the Revision.
        present: bytes that are on this disk already, fetched or shared.
        fetched: bytes that this warm-up has received from the source.
        shared: bytes that were here before it began (other trees, or a resumed ingest).
        rate: bytes per second over the last seconds; 0 when unknown or stalled.
        files: number of files of the Revision.
        retries: requests that had to be repeated.
        note: what is happening besides the transfer ("waiting for another warm-up", "assembling"), or empty.

    """

    total: int
    present: int
    fetched: int = 0
    shared: int = 0
    rate: float = 0.0
    files: int = 0
    retries: int = 0
    note: str = ""

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last byte at the present rate; None when the rate is unknown."""
        if self.rate <= 0:
            return None
        return max(0, self.total - self.present) / self.rate

    def words(self) -> str:
        """Tell the progress in one line for an event, e.g. ``12.3 GB of 16.4 GB, 1.10 GB/s, about 4 s left``."""
        parts = [f"{bytes_text(self.present)} of {bytes_text(self.total)}"]
        if self.rate > 0:
            parts.append(rate_text(self.rate))
        left = self.seconds_left
        if left is not None and self.present < self.total:
            parts.append(f"about {duration_text(max(1.0, left))} left")
        if self.note:
            parts.append(self.note)
        return ", ".join(parts)
