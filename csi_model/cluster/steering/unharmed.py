"""Unharmed: one thing that can't be decided mustn't end the decisions about everything else."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def unharmed(what: str) -> Iterator[None]:
    """Log what goes wrong, which is a bug; the thing is looked at again when everything is, a minute later at most."""
    try:
        yield
    except Exception:
        log.exception("what is due for %s can't be decided", what)
