"""What events tell of a staging, read as a person reads it: how far, of how much, how long still."""

import re
from dataclasses import dataclass
from datetime import datetime

from e2e.kube import Object

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_SECONDS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600}
_BYTES = r"([\d.]+ [kMG]?B)"
_PROGRESS = re.compile(
    rf"staging s3://[^:\s]+(?: on \S+)?: {_BYTES} of {_BYTES}(?:, {_BYTES}/s)?(?:, about ([^,]+) left)?"
)


@dataclass(frozen=True)
class Told:
    """One event about a staging that goes on.

    Attributes:
        at: when it was said, in whole seconds since 1970.
        present: bytes that are there.
        total: bytes in all.
        left: seconds until the last one; None if it isn't said.

    """

    at: float
    present: float
    total: float
    left: float | None


def progress(event: Object) -> Told | None:
    """Return what an event tells of the progress of a staging; None if it tells of something else."""
    found = _PROGRESS.search(event["message"])
    if found is None:
        return None
    present, total, _, left = found.groups()
    return Told(said_at(event), _bytes(present), _bytes(total), _duration(left) if left else None)


def said_at(event: Object) -> float:
    """Return when an event was said the last time, in whole seconds since 1970."""
    return datetime.fromisoformat(event["lastTimestamp"]).timestamp()


def _bytes(text: str) -> float:
    number, unit = text.split()
    return float(number) * _UNITS[unit]


def _duration(text: str) -> float:
    words = text.split()
    return sum(float(number) * _SECONDS[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
