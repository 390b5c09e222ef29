"""Events: what people see with ``kubectl describe`` of their claim.

Telling is a courtesy: it never blocks, never fails the work it tells of, and is dropped when the API doesn't answer.
What is said again of the same object for the same reason replaces what was said before and counts on, as Kubernetes'
own components do it, so that a long staging is one line.
"""

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from csi_model.cluster.api import METADATA, Api
from csi_model.cluster.errors import ApiConflict, ApiDenied, ApiNotFound, ApiRefused
from csi_model.core.templates import OBJECT_NAME
from csi_model.core.volume import Claim
from csi_model.errors import StoreUnusable

log = logging.getLogger(__name__)
_QUEUE = 1000  # things to say; the oldest are dropped
_SERIES = 2000  # events whose count is remembered
_MAX_MESSAGE = 1024  # characters; what Kubernetes' API for events allows
_MAX_NAME = 200  # characters of the object's name in the event's, which has at most 253


@dataclass(frozen=True, slots=True)
class Subject:
    """What an event is about.

    Attributes:
        kind: ``PersistentVolumeClaim``, ``PersistentVolume`` or ``Pod``.
        namespace: of the object; "" for one that has none.
        name: of the object.
        uid: which one of that name; without it ``kubectl describe`` doesn't find the event.

    """

    kind: str
    namespace: str
    name: str
    uid: str | None

    @classmethod
    def of(cls, claim: Claim) -> "Subject":
        """Make a claim the subject."""
        return cls("PersistentVolumeClaim", claim.namespace, claim.name, claim.uid)


@dataclass(frozen=True, slots=True)
class _Note:
    subject: Subject
    reason: str
    warning: bool
    message: str
    when: str


class Events:
    """Writes events in a thread of its own.

    Args:
        api: the API.
        component: who says it, e.g. ``csi-model.io/node``.
        host: the node it is said on; "" where that doesn't matter.
        now: the time.

    """

    def __init__(
        self, api: Api, *, component: str, host: str = "", now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._api, self._component, self._host, self._now = api, component, host, now
        self._changed = threading.Condition()
        self._waiting: OrderedDict[tuple[Subject, str], _Note] = OrderedDict()
        self._writing = self._closed = False
        self._counts: OrderedDict[str, int] = OrderedDict()  # by path; used by the thread alone
        self._silent = False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def say(self, claim: Claim, *, warning: bool, reason: str, message: str) -> None:
        """Say something of a claim, some time soon, if possible.

        Args:
            claim: whom to tell.
            warning: whether somebody should look at it.
            reason: one word in CamelCase; an event of the same claim and reason is replaced.
            message: a sentence for people, without secrets.

        """
        self.say_of(Subject.of(claim), warning=warning, reason=reason, message=message)

    def say_of(self, subject: Subject, *, warning: bool, reason: str, message: str) -> None:
        """Say something of any object; as :meth:`say`."""
        if not OBJECT_NAME.match(subject.name) or not OBJECT_NAME.match(subject.namespace or "default"):
            log.debug("nobody has the name %.80r", subject)
            return
        when = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._changed:
            if self._closed:
                return
            self._waiting[subject, reason] = _Note(subject, reason, warning, message[:_MAX_MESSAGE], when)
            while len(self._waiting) > _QUEUE:
                self._waiting.popitem(last=False)
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until all is said (or dropped); tell whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._writing, timeout)

    def close(self, timeout: float = 1.0) -> None:
        """Say what is waiting, as far as the time allows, and nothing any more.

        Args:
            timeout: seconds.

        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                _, note = self._waiting.popitem(last=False)
                self._writing = True
            try:
                self._write(note)
                self._silent = False
            except StoreUnusable as error:
                self._drop(note, error)

    def _drop(self, note: _Note, error: StoreUnusable) -> None:
        if isinstance(error, ApiRefused | ApiNotFound):  # of this one alone: its namespace is going, its name is odd
            log.info("no event about %s %s: %s", note.subject.kind, note.subject.name, error)
            return
        dropped = 1
        if not isinstance(error, ApiDenied):  # which may be so in one namespace: it is going, or its quota is used up
            with self._changed:
                dropped += len(self._waiting)
                self._waiting.clear()
        (log.debug if self._silent else log.warning)("%d events are dropped: %s", dropped, error)
        self._silent = True

    def _write(self, note: _Note) -> None:
        collection = f"/api/v1/namespaces/{note.subject.namespace or 'default'}/events"
        name = self._name(note)
        path = f"{collection}/{name}"
        if path in self._counts:
            try:
                return self._repeat(path, note)
            except ApiNotFound:  # events live for an hour
                del self._counts[path]
        try:
            self._api.create(collection, self._event(note, name))
            self._remember(path, 1)
        except ApiConflict:  # said before this process began
            self._repeat(path, note)
        return None

    def _repeat(self, path: str, note: _Note) -> None:
        change = {"message": note.message, "lastTimestamp": note.when, "type": _type(note)}
        if path in self._counts:
            self._api.merge_patch(path, {**change, "count": self._counts[path] + 1}, accept=METADATA)
            self._remember(path, self._counts[path] + 1)
            return
        count = self._api.merge_patch(path, change).get("count")
        self._remember(path, count if isinstance(count, int) else 1)

    def _remember(self, path: str, count: int) -> None:
        self._counts[path] = count
        self._counts.move_to_end(path)
        if len(self._counts) > _SERIES:
            self._counts.popitem(last=False)

    def _name(self, note: _Note) -> str:
        subject = note.subject
        series = "\n".join((subject.kind, subject.uid or "", self._component, self._host, note.reason))
        return f"{subject.name[:_MAX_NAME].rstrip('-.')}.{hashlib.sha256(series.encode()).hexdigest()[:16]}"

    def _event(self, note: _Note, name: str) -> dict[str, Any]:
        subject = note.subject
        about = {"apiVersion": "v1", "kind": subject.kind, "name": subject.name}
        about |= {"namespace": subject.namespace} if subject.namespace else {}
        about |= {"uid": subject.uid} if subject.uid else {}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": subject.namespace or "default"},
            "involvedObject": about,
            "reason": note.reason,
            "message": note.message,
            "type": _type(note),
            "source": {"component": self._component, **({"host": self._host} if self._host else {})},
            "firstTimestamp": note.when,
            "lastTimestamp": note.when,
            "count": 1,
        }


def _type(note: _Note) -> str:
    return "Warning" if note.warning else "Normal"
