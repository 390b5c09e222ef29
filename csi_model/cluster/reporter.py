"""Reporter: tells the cluster what is on this node, and this node what the cluster wants of it, by its ModelNode.

The object is the controller's to make; until it is there, and while the API doesn't answer, nothing is told, and the
node's work goes on. What is told is always what is true at that moment: news are never queued. It is compared with
what was written last, and only what differs is written; after a failure, and for a new object, everything is.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, time
from typing import Any

from csi_model.cluster.api import METADATA, Api
from csi_model.cluster.hostile import count, either, mapping, text_or_empty
from csi_model.cluster.model_node import PATH, Readiness, parse_orders, render_condition, render_status
from csi_model.cluster.watching import Key, Watch
from csi_model.core.backoff import pause_after
from csi_model.core.copies import NodeReport, Orders
from csi_model.core.warmth import Warmth
from csi_model.errors import CsiModelError, StoreUnusable

log = logging.getLogger(__name__)
Json = dict[str, Any]
COALESCE = 0.05
"""Seconds that news wait for more of them."""
PROGRESS = 5.0
"""Seconds between two reports of how far a warm-up is."""
_WHOLE = 600.0  # seconds after which all of it is written, whatever was written before: somebody may have edited it
_PAUSE, _MAX_PAUSE = 0.5, 30.0  # seconds; doubles with each failure in a row, with jitter
_LAST_WORDS = 2.0  # seconds for them


@dataclass(frozen=True, slots=True)
class _Told:
    """What the ModelNode says: which one it is, and the orders."""

    uid: str
    generation: int
    orders: Orders


class Reporter:
    """Watches the own ModelNode and writes its status, in two threads of its own.

    Args:
        api: the API.
        node: this node's name.
        report: says what is here; raises CsiModelError if that can't be said.
        obey: takes orders; doesn't wait.
        heartbeat: seconds at most between two signs of life.
        version: of the agent.

    """

    def __init__(
        self,
        api: Api,
        node: str,
        *,
        report: Callable[[], NodeReport],
        obey: Callable[[Orders], None],
        heartbeat: float,
        version: str,
    ) -> None:
        self._api, self._node, self._report, self._obey = api, node, report, obey
        self._heartbeat, self._version = heartbeat, version
        self._path = f"{PATH}/{node}/status"
        self._watch = Watch(api, PATH, _trim, self, query={"fieldSelector": f"metadata.name={node}"})
        self._changed = threading.Condition()
        self._told: _Told | None = None
        self._news = self._answers = self._closed = False
        self._readiness = Readiness(ready=True, since=time(), reason="Serving", message="")
        self._written: Json = {}  # what the object's status says; empty if that isn't known
        self._written_to = ""  # uid of the object
        self._beat = self._whole = 0.0  # when the next sign of life is due, and when the next that says all of it
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._watch.start()
        self._thread.start()

    def look(self) -> None:
        """Say that something has changed here; never blocks."""
        with self._changed:
            self._news = True
            self._changed.notify_all()

    def close(self) -> None:
        """Say that this agent ends, if the API answers at once, and nothing any more."""
        self._watch.stop()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(2 * _LAST_WORDS)

    # in the watch's thread

    def replaced(self, objects: Mapping[Key, _Told]) -> None:
        with self._changed:
            self._answers = True
            self._changed.notify_all()
        self._hear(objects.get(("", self._node)))

    def changed(self, key: Key, value: _Told | None) -> None:
        if key == ("", self._node):
            self._hear(value)

    def _hear(self, told: _Told | None) -> None:
        with self._changed:
            before, self._told = self._told, told
        if told is None:
            return
        if before is None or before.orders != told.orders:
            self._obey(told.orders)
        if before is None or (before.uid, before.generation) != (told.uid, told.generation):
            self.look()

    # in the reporter's own

    def _run(self) -> None:
        failures, wait = 0, None
        while self._await_news(wait) if failures == 0 else self._await_answers(wait):
            try:
                wait = self._tell()
                failures = 0
            except StoreUnusable as error:
                self._written = {}  # whether or not it arrived
                failures += 1
                log.log(
                    logging.WARNING if failures == 1 else logging.DEBUG,
                    "can't tell the cluster of this node: %s",
                    error,
                )
                wait = pause_after(failures, _PAUSE, _MAX_PAUSE)
        self._say_goodbye()

    def _await_news(self, wait: float | None) -> bool:
        """Wait for news and then for more of them, or for a time; tell whether to go on."""
        with self._changed:
            if self._changed.wait_for(lambda: self._news or self._closed, wait):
                self._changed.wait_for(lambda: self._closed, COALESCE)
            return not self._closed

    def _await_answers(self, wait: float | None) -> bool:
        """Wait for a time, or until the API answers again, whatever the news; tell whether to go on."""
        with self._changed:
            self._changed.wait_for(lambda: self._answers or self._closed, wait)
            return not self._closed

    def _tell(self) -> float | None:
        """Write what differs from what was written; return the seconds until the next look, None for no time."""
        with self._changed:
            self._news = self._answers = False
            told = self._told
        if told is None:
            return None
        now = monotonic()
        if told.uid != self._written_to or now >= self._whole:
            self._written, self._written_to, self._whole = {}, told.uid, now + _WHOLE
        report = self._take()
        status = render_status(
            report, generation=told.generation, now=time(), version=self._version, readiness=self._readiness
        )
        sign_of_life = {"heartbeat": status.pop("heartbeat")}
        differing = {name: value for name, value in status.items() if self._written.get(name) != value}
        if differing or now >= self._beat:
            self._api.merge_patch(self._path, {"status": differing | sign_of_life}, accept=METADATA)
            self._written = status
            self._beat = now + self._heartbeat * random.uniform(0.8, 1.0)  # noqa: S311 - nodes that began together
        until_beat = self._beat - now
        return min(PROGRESS, until_beat) if _is_warming(report) else until_beat

    def _take(self) -> NodeReport:
        """Look what is here; nothing is, as far as anybody knows, if that can't be said."""
        try:
            report, ready, reason, message = self._report(), True, "Serving", ""
        except CsiModelError as error:
            report, ready, reason, message = NodeReport(), False, type(error).__name__, str(error)[:1000]
        since = self._readiness.since if ready is self._readiness.ready else time()
        self._readiness = Readiness(ready, since, reason, message)
        return report

    def _say_goodbye(self) -> None:
        told = self._told
        if told is None or not self._written:
            return
        stopping = Readiness(ready=False, since=time(), reason="Stopping", message="the agent has ended")
        condition = render_condition(stopping, told.generation)
        with suppress(StoreUnusable):
            self._api.within(_LAST_WORDS).merge_patch(self._path, {"status": {"conditions": [condition]}})


def _is_warming(report: NodeReport) -> bool:
    return any(copy.warmth is Warmth.WARMING for copy in report.copies)


def _trim(item: Json) -> _Told | None:
    metadata = mapping(item, "metadata")
    generation = either(0, lambda: count(metadata["generation"]))
    return _Told(text_or_empty(metadata.get("uid")), generation, parse_orders(item))
