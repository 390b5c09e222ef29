"""Loop: takes the news, decides, and has the decisions written; on the leader alone.

Everything is level-triggered: what is due follows from what is known now, whatever happened before. News mark what
they concern; at the beginning, when this controller becomes the leader, and every minute, everything is marked.
Labels go first, since pods wait for them; choosing nodes takes longer and is done in slices, with labels in between.
"""

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from csi_model.cluster.api import Api
from csi_model.cluster.errors import ApiConflict
from csi_model.cluster.events import Events
from csi_model.cluster.steering.asked import PATIENCE, Asked, Landed
from csi_model.cluster.steering.bucket import Bucket
from csi_model.cluster.steering.choices import Choices
from csi_model.cluster.steering.duties import LABELS, ORDERS, TAINT, Duties
from csi_model.cluster.steering.figures import Figures
from csi_model.cluster.steering.inbox import Inbox
from csi_model.cluster.steering.inventory import Inventory
from csi_model.cluster.steering.standings import STATUS, Standings
from csi_model.cluster.steering.telling import Telling
from csi_model.cluster.steering.unharmed import unharmed
from csi_model.cluster.steering.writes import Target, Writes
from csi_model.settings import SteeringSettings

log = logging.getLogger(__name__)
_LISTEN = 1.0  # seconds between two looks for silent nodes
_HOPE = 5.0  # seconds between two looks at what lacks room, while that changes
_SLICE = 0.1  # seconds of choosing after which labels are looked at again
_ORDERS = 2.0  # seconds between two looks at what nodes are told, while choosing goes on
_AGAIN = 1.0  # seconds until something is looked at again that somebody else has changed meanwhile
_REFUSED = 30.0  # seconds until something is looked at again that the API refused
_RESERVE = 0.2  # of a full bucket, which statuses leave to labels and orders
_IDLE = 1.0  # seconds without news after which the clocks are looked at


class Leading(Protocol):
    """Whether this controller may write (:class:`csi_model.cluster.leader.Leader`)."""

    @property
    def leading(self) -> bool: ...


class Loop:
    """A thread.

    Args:
        inbox: what the watches tell.
        api: where it is written.
        events: tells people.
        leader: whether this controller leads.
        settings: how long, and how many.
        decided: is told how many seconds each turn of deciding took.
        answered: whether the API has answered lately: while it doesn't, silence says nothing of nodes.
        clock: seconds, monotonic.
        wall: seconds since the epoch.

    """

    def __init__(
        self,
        inbox: Inbox,
        api: Api,
        events: Events,
        leader: Leading,
        settings: SteeringSettings,
        *,
        decided: Callable[[float], None] = lambda _: None,
        answered: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._inbox, self._leader, self._settings = inbox, leader, settings
        self._decided, self._answered, self._clock = decided, answered, clock
        offset = wall() - clock()  # the clock of the wall may be set back; a grace mustn't end early by that
        self.inventory = Inventory(silent_after=settings.silent_after)
        bucket = Bucket(settings.writes_per_second, settings.write_burst, clock)
        self.writes = Writes(
            lambda: leader.leading, bucket,
            reserve=settings.write_burst * _RESERVE, threads=settings.writers, clock=clock,
        )  # fmt: skip
        self._asked = Asked(self.writes.put, self._note, clock=clock)
        self.choices = Choices(self.inventory, settings.quotas)
        self._duties = Duties(self.inventory, api, self._asked, settings, lambda: clock() + offset)
        self._standings = Standings(
            self.inventory, self.choices, api, self._asked, put=self.writes.put, events=events,
            clock=clock, now=lambda: clock() + offset,
        )  # fmt: skip
        self._telling = Telling(self.inventory, self.choices, events, clock)
        self._landed: deque[Landed] = deque()
        self._later: list[tuple[float, Target]] = []
        self._leads = False
        self._everything = self._listen = self._hope = self._orders = 0.0  # when it is time for each
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steering", daemon=True)

    def start(self) -> None:
        """Begin."""
        self.writes.start()
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """End; what isn't written yet is left to the next leader.

        Args:
            timeout: seconds to wait for the thread, and for what is on its way.

        """
        self._stopped.set()
        self._inbox.wake()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self.writes.close(timeout)

    def figures(self) -> Figures:
        """Return what /metrics shows. Safe to call from any thread."""
        return Figures.of(self._leads, self.choices, self.inventory, self.writes)

    def turn(self) -> float:
        """Take the news and see to all that is due; return the seconds after which to come again without news."""
        now = self._clock()
        self.inventory.apply(self._inbox.take())
        if now >= self._listen:
            self._listen = now + _LISTEN
            self.inventory.listen(now, deaf=not self._answered())
        leads = self._leader.leading and self.inventory.synced
        if leads != self._leads:
            (self._begin if leads else self._end)()
        if not leads:
            self.inventory.dirty.clear()
            return _IDLE
        began = monotonic()
        self._mark(now)
        wait = self._settle()
        self._decided(monotonic() - began)
        return wait

    def _run(self) -> None:
        wait = _IDLE
        while not self._stopped.is_set():
            if self._inbox.wait(wait) and wait:
                self._stopped.wait(self._settings.debounce)  # more of the same comes within milliseconds
            wait = self.turn()

    def _begin(self) -> None:
        self._leads = True
        self._forget()
        self._duties.begin()
        self._everything = 0.0

    def _end(self) -> None:
        self._leads = False
        self._forget()

    def _forget(self) -> None:
        self.writes.clear()
        self._landed.clear()
        self._later.clear()
        for part in (self._asked, self.choices, self._standings, self._telling):
            part.clear()
        self.inventory.forget_orders()

    def _mark(self, now: float) -> None:
        """Mark what has to be looked at although nobody told of it."""
        dirty = self.inventory.dirty
        while self._landed:
            self._land(self._landed.popleft())
        while self._later and self._later[0][0] <= now:
            self._dirty(heapq.heappop(self._later)[1])
        if now >= self._everything:
            self._everything = now + self._settings.resync
            dirty.nodes |= self.inventory.names
            dirty.revisions |= self.inventory.revisions
        if dirty.joined:
            dirty.revisions |= self.choices.of_all(dirty.joined) | self.choices.hopeful()
            dirty.joined.clear()
        if dirty.roomier and now >= self._hope:
            self._hope = now + _HOPE
            dirty.roomier = False
            dirty.revisions |= self.choices.hopeful()

    def _settle(self) -> float:
        """See to what is marked; return the seconds until something is due without news."""
        dirty = self.inventory.dirty
        self._settle_nodes()
        end = monotonic() + _SLICE
        while dirty.revisions and monotonic() < end:
            revision = dirty.revisions.pop()
            with unharmed(f"revision {revision}"):
                self.choices.settle(revision)
        if not dirty.revisions or self._clock() >= self._orders:  # else the next choices change most of them again
            self._orders = self._clock() + _ORDERS
            dirty.nodes |= dirty.ordered
            dirty.ordered.clear()
        self._settle_nodes()
        while dirty.standings:
            self._standings.add(dirty.standings.pop())
        wait = min(_IDLE, self._standings.turn())
        self._telling.turn()
        if dirty.revisions or dirty.nodes:
            return 0.0
        now = self._clock()
        if self._later:
            wait = min(wait, self._later[0][0] - now)
        return max(0.0, min(wait, self._everything - now))

    def _settle_nodes(self) -> None:
        dirty = self.inventory.dirty
        names, dirty.nodes = dirty.nodes, set()
        for name in names:
            with unharmed(f"node {name}"):
                seconds = self._duties.settle(name)
                if seconds is not None:
                    self._look_later((LABELS, "", name), seconds)

    def _note(self, landed: Landed) -> None:
        """Remember, from a thread of the writes, what became of a change."""
        self._landed.append(landed)
        self._inbox.wake()

    def _land(self, landed: Landed) -> None:
        self._asked.land(landed)
        if landed.error is not None:
            log.info("%s of %s aren't written: %s", landed.target[0], landed.target[2], landed.error)
        elif landed.version:
            self._dirty(landed.target)  # a watch may have told already of what came after it
        # If a watch tells of it, nothing is to be done then; if something came in between, it is seen then.
        again = _AGAIN if isinstance(landed.error, ApiConflict) else _REFUSED
        self._look_later(landed.target, PATIENCE if landed.error is None else again)

    def _look_later(self, target: Target, seconds: float) -> None:
        heapq.heappush(self._later, (self._clock() + seconds, target))

    def _dirty(self, target: Target) -> None:
        kind, _, name = target
        if kind in (LABELS, ORDERS, TAINT):
            self.inventory.dirty.nodes.add(name)
        elif kind == STATUS and (volume := self.inventory.using.volumes.get(name)) is not None:
            self.inventory.dirty.standings.add(volume.revision)
