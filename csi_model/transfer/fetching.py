"""One span from the source into memory, tried again as long as that makes sense."""

import random
import threading
from collections.abc import Callable

from csi_model.errors import SourceBusy, SourceError, SourceUnavailable
from csi_model.settings import TransferSettings
from csi_model.sources.base import Reader


class Stopped(Exception):
    """The transfer was asked to stop."""


def fetch(
    reader: Reader,
    start: int,
    view: memoryview,
    *,
    settings: TransferSettings,
    stop: threading.Event,
    retried: Callable[[], None],
) -> None:
    """Fill a view from a reader, repeating what is worth repeating.

    Args:
        reader: of the Entry.
        start: offset in bytes.
        view: filled when this returns.
        settings: how often and how patiently.
        stop: ends the wait between two tries at once.
        retried: called before each repetition.

    Raises:
        Stopped: ``stop`` was set.
        SourceError: the last try's.

    """
    for attempt in range(1, settings.attempts + 1):
        if stop.is_set():
            raise Stopped
        try:
            reader.read_into(start, view)
        except SourceError as error:
            if stop.is_set():  # then the source is being closed, and what that breaks is nobody's fault
                raise Stopped from error
            if attempt == settings.attempts or not isinstance(error, SourceUnavailable):
                raise
            stop.wait(_pause(error, attempt, settings))
            retried()
        else:
            if stop.is_set():  # the source may have been closed during the read: what it gave then isn't trusted
                raise Stopped
            return


def _pause(error: SourceUnavailable, attempt: int, settings: TransferSettings) -> float:
    """Return seconds to wait: exponential with full jitter, or longer if the source says so (within bounds)."""
    longest = min(settings.backoff_max, settings.backoff_initial * 2 ** (attempt - 1))
    asked = error.retry_after if isinstance(error, SourceBusy) else None
    return min(settings.backoff_max, max(random.uniform(0, longest), asked or 0.0))  # noqa: S311 - jitter is no secret
