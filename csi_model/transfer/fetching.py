"""One range from the source into memory, block by block, gone on with as long as that makes sense."""

import logging
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import closing

from csi_model.errors import SourceBusy, SourceError, SourceUnavailable
from csi_model.settings import TransferSettings
from csi_model.sources.base import Abort, Blocks, Reader

log = logging.getLogger(__name__)


class Stopped(Exception):
    """The transfer was asked to stop."""


def fetch(
    reader: Reader,
    start: int,
    views: Sequence[memoryview],
    *,
    settings: TransferSettings,
    halt: threading.Event,
    abort: Abort,
    retried: Callable[[SourceError], None],
) -> Blocks:
    """Fill views from a reader and yield each; after an error that is worth it, go on at the view that failed.

    Args:
        reader: of the Entry.
        start: offset in bytes.
        views: as :meth:`Reader.read` wants them.
        settings: how often and how patiently.
        halt: ends everything soon, the wait between two tries at once.
        abort: lets another thread break the connection; that counts as an error worth another try.
        retried: called with each error that is followed by a pause and another try, before the pause.

    Raises:
        Stopped: ``halt`` was set.
        SourceError: one not worth a repetition, or the last of ``attempts`` in a row that brought nothing.

    """
    done, failures = 0, 0
    while done < len(views):
        if halt.is_set():
            raise Stopped
        try:
            with closing(reader.read(start, views[done:], abort)) as blocks:
                for view in blocks:
                    if halt.is_set():  # the source may have been closed meanwhile: what it gave then isn't trusted
                        raise Stopped
                    done, start, failures = done + 1, start + len(view), 0
                    yield view
        except SourceError as error:
            if halt.is_set():  # then the source is being closed, and what that breaks is nobody's fault
                raise Stopped from error
            failures += 1
            if failures >= settings.attempts or not isinstance(error, SourceUnavailable):
                raise
            log.debug("try %d of %d failed: %s", failures, settings.attempts, error)
            retried(error)  # first, so that a source that asked for less gets less at once
            halt.wait(_pause(error, failures, settings))


def _pause(error: SourceUnavailable, failures: int, settings: TransferSettings) -> float:
    """Return seconds to wait: exponential with full jitter, or longer if the source says so (within bounds)."""
    longest = min(settings.backoff_max, settings.backoff_initial * 2 ** (failures - 1))
    asked = error.retry_after if isinstance(error, SourceBusy) else None
    return min(settings.backoff_max, max(random.uniform(0, longest), asked or 0.0))  # noqa: S311 - jitter is no secret
