"""Ranges of one pinned object, by a GET URL that is signed once.

``Range`` and ``If-Match`` aren't part of the signature, so one URL serves all ranges of an object, and botocore's
work (slow, and all of it Python) happens once per object instead of once per range.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from csi_model.errors import SourceDenied, SourceUnauthenticated
from csi_model.sources.base import Abort, Blocks
from csi_model.sources.http import Target, read_range
from csi_model.sources.http_pool import HttpPool
from csi_model.sources.s3_errors import explain


@dataclass(frozen=True)
class Pinned:
    """How the requests for one pinned object look.

    Attributes:
        sign: makes a fresh URL.
        size: bytes of the object.
        headers: sent with each request.
        expect: headers that an answer must not contradict.
        fresh: seconds that a URL is used before a new one is made; less than it is valid.

    """

    sign: Callable[[], str]
    size: int
    headers: Mapping[str, str]
    expect: Mapping[str, str]
    fresh: float


class SignedReader:
    """A Reader over signed URLs. Safe to use from several threads."""

    def __init__(self, pool: HttpPool, pinned: Pinned) -> None:
        self._pool = pool
        self._pinned = pinned
        self._lock = threading.Lock()
        self._target: Target | None = None
        self._signed_at = 0.0

    def read(self, start: int, views: Sequence[memoryview], abort: Abort | None = None) -> Blocks:
        target = self._signed(None)
        try:
            yield from read_range(self._pool, target, start, views, abort)
        except (SourceDenied, SourceUnauthenticated):  # an answer's head says so, before anything was yielded
            # The signature may have expired early (a clock, a session token): a new one decides.
            yield from read_range(self._pool, self._signed(target), start, views, abort)

    def _signed(self, refused: Target | None) -> Target:
        """Give the current target; a new one if the current one is stale or is the one that was refused."""
        with self._lock:
            stale = time.monotonic() - self._signed_at > self._pinned.fresh
            if self._target is None or self._target is refused or stale:
                pinned = self._pinned
                self._target = Target(pinned.sign(), pinned.size, pinned.headers, pinned.expect, explain)
                self._signed_at = time.monotonic()
            return self._target
