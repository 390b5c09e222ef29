"""How long a call may wait, so that the answer still reaches a caller who has a deadline."""

from typing import Protocol

MOST = 110.0
"""Seconds that a call waits at most: kubelet's deadline is two minutes, and it covers more than this call."""
LEAST = 0.1
"""Seconds that a call waits at least, also for a caller who left no time: work that is nearly done gets through."""
_SHORT = 10.0


class HasDeadline(Protocol):
    """What this module wants of a ``grpc.ServicerContext``."""

    def time_remaining(self) -> float | None:
        """Return the seconds until the caller's deadline; None, or something huge, without one."""


def stage_time(context: HasDeadline) -> float:
    """Return the seconds that NodeStageVolume may wait: 3 s less than its deadline, 2 s if that is short."""
    remaining = context.time_remaining()
    return _bounded(remaining, 2.0 if remaining is not None and remaining < _SHORT else 3.0)


def create_time(context: HasDeadline) -> float:
    """Return the seconds that CreateVolume may wait: 1 s less than its deadline (external-provisioner's is 10 s)."""
    return _bounded(context.time_remaining(), 1.0)


def _bounded(remaining: float | None, margin: float) -> float:
    return MOST if remaining is None else max(LEAST, min(remaining - margin, MOST))
