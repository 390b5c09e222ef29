"""One span from the source into memory, tried again as long as that makes sense."""

import threading
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_when_event_set
from tenacity.wait import wait_base, wait_random_exponential

from csi_model.errors import SourceBusy, SourceUnavailable
from csi_model.settings import TransferSettings
from csi_model.sources.base import Reader


class Stopped(Exception):
    """The transfer was asked to stop."""


class _Wait(wait_base):
    """Exponential back-off with full jitter, or longer if the source names a time (within bounds)."""

    def __init__(self, settings: TransferSettings) -> None:
        self._longest = settings.backoff_max
        self._jitter = wait_random_exponential(multiplier=settings.backoff_initial, max=settings.backoff_max)

    def __call__(self, retry_state: RetryCallState) -> float:
        seconds = self._jitter(retry_state)
        error = retry_state.outcome.exception() if retry_state.outcome else None
        if isinstance(error, SourceBusy) and error.retry_after is not None:
            seconds = max(seconds, error.retry_after)
        return min(seconds, self._longest)


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

    def pause(seconds: float) -> None:
        stop.wait(seconds)

    attempts = Retrying(
        retry=retry_if_exception_type(SourceUnavailable),
        stop=stop_after_attempt(settings.attempts) | stop_when_event_set(stop),
        wait=_Wait(settings),
        sleep=pause,
        before_sleep=lambda _: retried(),
        reraise=True,
    )
    for attempt in attempts:
        if stop.is_set():
            raise Stopped
        with attempt:
            reader.read_into(start, view)
