"""Ahead: brings what this node was told to have, with no pod around, and gives up what it isn't told any more.

What it does follows from the last orders and from what is here, never from what was done before: a copy that is
evicted, found damaged or wiped is brought again, and whatever fails is tried again, ever more seldom.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from csi_model.core.copies import Orders, Wanted
from csi_model.core.fields import Auth
from csi_model.core.volume import VolumeRecord
from csi_model.errors import CsiModelError, InProgress, RecordPending, SourceDenied, StoreUnusable
from csi_model.node.failures import Failures
from csi_model.node.holding import OpenSource
from csi_model.node.telling import Listener
from csi_model.node.warmer import Warmer
from csi_model.node.warmup import Warmup
from csi_model.store.durable import translated
from csi_model.store.store import Store

log = logging.getLogger(__name__)
Named = Callable[[str], VolumeRecord | None]
"""The record of the ModelVolume of a name; None if there is none."""
AT_ONCE = 2
"""Revisions that no pod waits for and that are brought at the same time: one alone may have a slow source, and with
more of them the first would be whole later."""
_LET_GO = 2.0  # seconds: a look-up that takes longer harms nobody
_UNREADABLE = 10.0  # seconds until a store that can't be read is looked at again


@dataclass(frozen=True, slots=True)
class _Running:
    wanted: Wanted
    warmup: Warmup


class Ahead:
    """Carries out a node's orders, in a thread of its own.

    Args:
        store: this node's disk.
        warmer: brings what isn't there.
        named: looks a ModelVolume up.
        open_source: opens a volume's source; here without secrets.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        store: Store,
        warmer: Warmer,
        *,
        named: Named,
        open_source: OpenSource,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._warmer = warmer
        self._named = named
        self._open_source = open_source
        self.failures = Failures(lambda: store.blobs.evicted_bytes, clock)
        self._changed = threading.Condition()
        self._orders = Orders()
        self._due = self._closed = False
        self._running: dict[str, _Running] = {}  # by Revision; used by one thread
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def obey(self, orders: Orders) -> None:
        """Take new orders."""
        self._orders = orders
        self.look()

    def look(self) -> None:
        """Say that something has changed on this node."""
        with self._changed:
            self._due = True
            self._changed.notify_all()

    def wanted(self) -> int:
        """Return how many Revisions this node was told to have."""
        return len(self._orders.wanted)

    def close(self) -> None:
        """Bring nothing more; what is running is the warmer's to stop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(_LET_GO)

    def _run(self) -> None:
        while not self._closed:
            self._due = False
            try:
                with translated("looking what is staged"):
                    pause = self.step()
            except CsiModelError as error:
                log.warning("%s", error)
                pause = _UNREADABLE
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._closed, pause)

    def step(self) -> float | None:
        """Do what can be done now.

        Returns:
            Seconds until there is more to do even if nothing changes; None if there won't be.

        """
        orders = self._orders
        wanted = {it.revision for it in orders.wanted}
        self._evict()
        for revision in list(self._running):
            self._note_end(revision)
        for revision in self._running.keys() - wanted:
            self._leave(revision)
        self.failures.keep(wanted)
        waits = [self._care_for(it) for it in orders.wanted]
        return min((wait for wait in waits if wait is not None), default=None)

    def _evict(self) -> None:
        try:
            with translated("evicting"):
                self._store.retention.evict_released()
        except CsiModelError as error:  # housekeeping tries again, and so does the next look
            log.warning("%s", error)

    def _note_end(self, revision: str) -> None:
        """Look whether a warm-up has ended."""
        warmup = self._running[revision].warmup
        try:
            if not warmup.wait(_key(revision), 0):
                return
        except InProgress as error:  # it was stopped, and is begun again if the agent isn't ending
            log.info("revision %s: %s", revision[:12], error)
        except Exception as error:  # noqa: BLE001 - whatever ended the warm-up, which has logged it
            self._failed(revision, error, warmup.manifest.size)
        else:
            self.failures.forget(revision)
        self._leave(revision)

    def _leave(self, revision: str) -> None:
        del self._running[revision]
        self._warmer.leave(revision, _key(revision))

    def _care_for(self, wanted: Wanted) -> float | None:
        """Bring one Revision, unless it is here; tell how long that has to wait, None if not by the clock."""
        revision = wanted.revision
        if self._store.tree(revision) is not None:
            self.failures.forget(revision)
            return None
        if self._closed or not self._has_turn(wanted):
            return None
        if self.failures.wait(revision, urgent=wanted.urgent) <= 0:
            self._try(wanted)
        wait = self.failures.wait(revision, urgent=wanted.urgent)
        return wait if wait > 0 else None

    def _has_turn(self, wanted: Wanted) -> bool:
        running = self._running.get(wanted.revision)
        if running is not None:
            return running.wanted != wanted  # with other rights, or more urgent
        return wanted.urgent or sum(not it.wanted.urgent for it in self._running.values()) < AT_ONCE

    def _try(self, wanted: Wanted) -> None:
        try:
            self._running[wanted.revision] = _Running(wanted, self._bring(wanted))
        except InProgress as error:  # the agent is ending
            log.info("revision %s: %s", wanted.revision[:12], error)
        except CsiModelError as error:
            self._failed(wanted.revision, error, 0)

    def _failed(self, revision: str, error: Exception, size: int) -> None:
        if self.failures.note(revision, error, size):
            log.warning("revision %s isn't brought here: %s", revision[:12], error)
        self._store.changed.ring()

    def _bring(self, wanted: Wanted) -> Warmup:
        record = self._named(wanted.volume)
        if record is None:
            raise RecordPending(f"there is no ModelVolume {wanted.volume}")
        if record.manifest.digest != wanted.revision:
            raise StoreUnusable(f"the ModelVolume {wanted.volume} is of revision {record.manifest.digest[:12]}")
        if record.spec.auth is Auth.SECRET:
            raise SourceDenied(f"{record.spec.source} is read with secrets (auth: secret), which only come with a pod")
        listener = Listener(record.claim, str(record.spec.source)) if record.claim is not None else None
        warmup, _ = self._warmer.want(
            record.manifest, _key(wanted.revision), partial(self._open_source, record.spec, {}),
            urgent=wanted.urgent, listener=listener,
        )  # fmt: skip
        return warmup


def _key(revision: str) -> str:
    """Return what stands for a volume's id, so that pods come and go independently of this."""
    return f"ahead:{revision}"
