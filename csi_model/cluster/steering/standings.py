"""Standings: what people are told of each volume: its status, its claim's annotation, its claim's events."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from csi_model import DRIVER_NAME
from csi_model.cluster import model_volume
from csi_model.cluster.api import METADATA, Api
from csi_model.cluster.facts import Volume
from csi_model.cluster.steering.asked import Asked
from csi_model.cluster.steering.choices import Choices
from csi_model.cluster.steering.inventory import Inventory
from csi_model.cluster.steering.standing import Standing, standing
from csi_model.cluster.steering.unharmed import unharmed
from csi_model.cluster.steering.words import names_text
from csi_model.cluster.steering.writes import Change, Rank
from csi_model.core.copies import Copy
from csi_model.core.placement import Placement
from csi_model.core.units import bytes_text
from csi_model.core.volume import Claim

Json = dict[str, Any]
STATUS, ANNOTATION = "status", "annotation"
"""Kinds of changes."""
STAGED = f"{DRIVER_NAME}/staged"
"""Annotation of a claim: on how many nodes its model is, for those who can't read ModelVolumes."""
_SETTLING = 1.0  # seconds between two looks at one volume
_PROGRESS = 5.0  # seconds between two statuses that differ in the progress alone
_SLOWLY = 20.0  # seconds between two annotations, but at transitions
_MOVING = ("progress", "bytesPerSecond", "secondsLeft")


class ClaimEvents(Protocol):
    """Writes events of claims (:class:`csi_model.cluster.events.Events`)."""

    def say(self, claim: Claim, *, warning: bool, reason: str, message: str) -> None:
        """Say something of a claim, some time soon, if possible; never blocks, never raises."""


@dataclass(slots=True)
class _Told:
    """What was told of a volume, and when."""

    looked: float = float("-inf")
    written: float = float("-inf")
    annotated: float = float("-inf")
    text: str | None = None  # of the annotation
    counts: tuple[int, int] | None = None  # staged and wanted nodes
    lacking: str = ""


class Standings:
    """For one thread.

    Args:
        inventory: what is known.
        choices: what is wanted where.
        api: where it is written.
        asked: what is on its way there.
        put: takes changes to be written.
        events: tells claims.
        clock: seconds, monotonic.
        now: seconds since the epoch.

    """

    def __init__(
        self,
        inventory: Inventory,
        choices: Choices,
        api: Api,
        asked: Asked,
        *,
        put: Callable[[Change], None],
        events: ClaimEvents,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._inventory, self._choices, self._api, self._asked = inventory, choices, api, asked
        self._put, self._events, self._clock, self._now = put, events, clock, now
        self._told: dict[str, _Told] = {}
        self._due: dict[str, float] = {}  # volumes, and when they are looked at

    def clear(self) -> None:
        """Forget everything: somebody else tells."""
        self._told.clear()
        self._due.clear()

    def add(self, revision: str) -> None:
        """Have the volumes of a revision looked at soon."""
        for volume in self._inventory.using.volumes_of(revision):
            told = self._told.get(volume.name)
            self._look_at(volume.name, max(0.0, told.looked + _SETTLING - self._clock()) if told else 0.0)

    def turn(self) -> float:
        """Look at the volumes whose time has come; return the seconds until the next one's."""
        now = self._clock()
        if len(self._told) > len(self._inventory.using.volumes):
            for name in self._told.keys() - self._inventory.using.volumes.keys():
                self._forget(name)
        for name in [name for name, when in self._due.items() if when <= now]:
            del self._due[name]
            volume = self._inventory.using.volumes.get(name)
            choice = self._choices.made.get(volume.revision) if volume is not None else None
            if volume is None:
                self._forget(name)
            elif choice is not None:
                with unharmed(f"volume {name}"):
                    self._tell(volume, standing(volume, choice, self._copies(volume.revision)))
        return min(self._due.values(), default=math.inf) - now

    def _look_at(self, name: str, after: float) -> None:
        when = self._clock() + after
        self._due[name] = min(when, self._due.get(name, when))

    def _forget(self, name: str) -> None:
        self._told.pop(name, None)
        self._asked.forget((STATUS, "", name))

    def _copies(self, revision: str) -> dict[str, Copy]:
        nodes = self._inventory.nodes
        found = ((name, nodes[name].copy(revision)) for name in self._inventory.holders(revision) if name in nodes)
        return {name: copy for name, copy in found if copy is not None}

    def _tell(self, volume: Volume, now: Standing) -> None:
        told = self._told.setdefault(volume.name, _Told())
        told.looked = self._clock()
        there = self._inventory.status(volume.name)
        target = (STATUS, "", volume.name)
        base = self._asked.content(target) or there
        due = now.status(base, _time(self._now()))
        counts = (sum(name in now.choice.wanted for name in now.staged), now.choice.replicas)
        if volume.claim is not None:
            self._annotate(volume, volume.claim, told, now.annotation(), turned=counts != told.counts)
            self._announce(volume, volume.claim, told, now, counts, new=not base)
        told.counts, told.lacking = counts, now.choice.lacking
        if due != base and _without_progress(due) == _without_progress(base) and self._soon(volume, told.written):
            return
        write = self._status_writer(volume.name, {**dict.fromkeys(base.keys() | there.keys()), **due})
        before = self._asked.content(target)
        if not self._asked.settle(target, Rank.STATUS, there, due, write) and before != due:
            told.written = self._clock()

    def _soon(self, volume: Volume, written: float) -> bool:
        """Tell whether a status that only tells of progress comes too soon; it is looked at again then."""
        left = written + _PROGRESS - self._clock()
        if left > 0:
            self._look_at(volume.name, left)
        return left > 0

    def _annotate(self, volume: Volume, claim: Claim, told: _Told, text: str, *, turned: bool) -> None:
        if text == told.text:
            return
        left = told.annotated + _SLOWLY - self._clock()
        if left > 0 and not turned:
            self._look_at(volume.name, left)
            return
        told.text, told.annotated = text, self._clock()
        path = f"/api/v1/namespaces/{claim.namespace}/persistentvolumeclaims/{claim.name}"
        metadata: Json = {"annotations": {STAGED: text or None}, **({"uid": claim.uid} if claim.uid else {})}

        def write() -> int:
            self._api.merge_patch(path, {"metadata": metadata}, accept=METADATA)
            return 0

        # What is refused is of a claim that is gone, or another one now.
        self._put(Change((ANNOTATION, claim.namespace, claim.name), Rank.ANNOTATION, write, lambda _, __: None))

    def _announce(
        self, volume: Volume, claim: Claim, told: _Told, now: Standing, counts: tuple[int, int], *, new: bool
    ) -> None:
        """Tell the claim what has changed; a controller that has just begun to lead repeats nothing."""
        (staged, wanted), (was_staged, was_wanted) = counts, told.counts or ((0, 0) if new else counts)
        ahead = volume.wants.replicas or volume.placement is Placement.REQUIRE
        if ahead and wanted > max(staged, was_wanted):
            self._say(claim, "WarmingAhead", f"{_model(volume)} is brought to {names_text(now.choice.wanted)}")
        if ahead and staged >= wanted > 0 and (was_staged < was_wanted or was_wanted < wanted):
            self._say(claim, "StagedAhead", f"{_model(volume)} is staged on {staged} of {wanted} nodes that it wants")
        lacking = now.choice.lacking
        if lacking and lacking != told.lacking:
            self._say(claim, "NotPlaced", lacking, warning=True)

    def _say(self, claim: Claim, reason: str, message: str, *, warning: bool = False) -> None:
        self._events.say(claim, warning=warning, reason=reason, message=message)

    def _status_writer(self, name: str, status: Json) -> Callable[[], int]:
        def write() -> int:
            self._api.merge_patch(f"{model_volume.PATH}/{name}/status", {"status": status}, accept=METADATA)
            return 0

        return write


def _without_progress(status: Json) -> Json:
    return {key: value for key, value in status.items() if key not in _MOVING}


def _model(volume: Volume) -> str:
    return f"{volume.source} ({bytes_text(volume.bytes)})"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
