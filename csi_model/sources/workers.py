"""Workers: processes that read over TLS, so that it isn't bound by one interpreter's lock.

A TLS record is 16 KiB, and each one that is read takes the lock anew: 64 times per MiB, which several streams can't
do at once. A worker reads (:mod:`csi_model.sources.worker`) straight into this process's memory; here a block costs
two short messages.

The law: when a read is over here, whoever had the memory gives it to somebody else, so no worker may write to it any
more. A read is over only when the worker said so or is dead.
"""

import base64
import itertools
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from csi_model import errors
from csi_model.errors import SourceError, SourceUnavailable
from csi_model.sources.base import Abort, Blocks
from csi_model.sources.conduits import Conduit, Process
from csi_model.sources.http import Target
from csi_model.sources.http_pool import HttpPool
from csi_model.sources.http_refusals import Refusal, bare, refused
from csi_model.sources.shared import SharedBuffer, locate
from csi_model.sources.worker import FILLED, GO, MESSAGE

log = logging.getLogger(__name__)
_MAX_REQUEST = MESSAGE - 32  # less its number
_PATIENCE = 30  # seconds that a worker gets to end a read: it may be looking up a name, which nothing can end


class Workers:
    """Some processes, each with conduits for reads. Safe to use from several threads.

    Make it before threads that mind are started. A process that dies isn't replaced: what is left does the work, in
    the end this process itself.

    Args:
        processes: how many.
        conduits: reads at a time in each.
        patience: seconds after which a worker that doesn't end a read is killed.

    """

    def __init__(self, processes: int, conduits: int, patience: int = _PATIENCE) -> None:
        self._lock = threading.Lock()
        self._busy: set[Conduit] = set()
        self._processes: list[Process] = []
        try:
            for _ in range(processes):
                self._processes.append(Process(conduits, patience))
        except OSError as error:
            log.warning("can't start more than %d processes that read over TLS: %s", len(self._processes), error)

    @property
    def pids(self) -> list[int]:
        """The processes that are thought to be alive."""
        with self._lock:
            return [worker.pid for worker in self._processes]

    def try_read(
        self, pool: HttpPool, target: Target, start: int, views: Sequence[memoryview], abort: Abort
    ) -> Blocks | None:
        """Begin a read as :func:`csi_model.sources.http.read_range` does it.

        Returns:
            Its blocks, which have to be iterated over; None if the read has to be done here: it isn't over TLS, the
            views don't lie in one shared buffer, or no worker has room.

        """
        if not target.url.startswith("https:"):
            return None
        placed = [locate(view) for view in views]
        buffers = {place[0] for place in placed if place is not None}
        if len(buffers) != 1 or None in placed:
            return None
        buffer = buffers.pop()
        spans = [(place[1], len(view)) for place, view in zip(placed, views, strict=True) if place is not None]
        layout = [[*span, len(list(same))] for span, same in itertools.groupby(spans)]
        request = _packed(pool, target, start, layout)
        if len(request) > _MAX_REQUEST:
            return None
        while (conduit := self._lease(pool.number)) is not None:
            if conduit.process.is_alive():
                return self._read(conduit, request, buffer, target=target, views=views, abort=abort)
            self._bury(conduit)
        return None

    def _read(
        self,
        conduit: Conduit,
        request: bytes,
        buffer: SharedBuffer,
        *,
        target: Target,
        views: Sequence[memoryview],
        abort: Abort,
    ) -> Blocks:
        over = False  # whether the worker has said so
        try:
            with abort.armed(conduit.cut):
                conduit.ask(request, buffer)
                for view in views:
                    said = conduit.hear()
                    if said != FILLED:
                        break
                    try:
                        yield view
                    except GeneratorExit:
                        over = conduit.stop()
                        raise
                    conduit.say(GO)
                else:
                    said = conduit.hear()
            over = True
        except OSError as error:
            raise SourceUnavailable(f"reading {bare(target.url)}: the process that read it died") from error
        finally:
            if over:
                self._give_back(conduit)
            else:
                self._bury(conduit)
        if (failure := _error_of(json.loads(said), target)) is not None:
            raise failure

    def close_pool(self, pool: HttpPool) -> None:
        """Let the workers close their pools of that number; reads fail soon."""
        with self._lock:  # held, so that no conduit is another pool's meanwhile
            for worker in self._processes:
                worker.tell(f"close {pool.number}")
            for conduit in self._busy:
                if conduit.pool == pool.number:
                    conduit.cut()

    def close(self) -> None:
        """End all processes; reads fail at once. May be repeated."""
        with self._lock:
            workers, self._processes = self._processes, []
        for worker in workers:
            worker.end()
            for conduit in worker.free:
                conduit.close()

    def _lease(self, pool: int) -> Conduit | None:
        """Take a conduit of the worker that has most to spare."""
        with self._lock:
            worker = max(self._processes, key=lambda worker: len(worker.free), default=None)
            if worker is None or not worker.free:
                return None
            conduit = worker.free.pop()
            conduit.begin(pool)
            self._busy.add(conduit)
            return conduit

    def _give_back(self, conduit: Conduit) -> None:
        with self._lock:
            self._busy.discard(conduit)
            if conduit.process in self._processes:
                conduit.process.free.append(conduit)
                return
        conduit.close()

    def _bury(self, conduit: Conduit) -> None:
        """Make sure that a worker is dead, and forget it."""
        worker = conduit.process
        with self._lock:
            self._busy.discard(conduit)
            known = worker in self._processes
            if known:
                self._processes.remove(worker)
        worker.end()
        conduit.close()
        if known:
            log.warning("a process that reads over TLS died (pid %d); going on without it", worker.pid)
            for free in worker.free:
                free.close()


def _packed(pool: HttpPool, target: Target, start: int, layout: Sequence[Sequence[int]]) -> bytes:
    request = {
        "pool": [pool.number, pool.ca_bundle and str(pool.ca_bundle), asdict(pool.limits)],
        "target": [target.url, target.size, dict(target.headers), dict(target.expect)],
        "start": start,
        "layout": layout,
    }
    return json.dumps(request).encode()


def _error_of(outcome: Mapping[str, Any], target: Target) -> SourceError | None:
    if "refusal" in outcome:
        what, status, headers, body = outcome["refusal"]
        return refused(Refusal(what, status, headers, base64.b64decode(body)), target.size, target.explain)
    if "error" in outcome:
        kind: type[SourceError] = getattr(errors, outcome["error"])
        return kind(outcome["text"])
    return None
