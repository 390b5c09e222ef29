"""ModelNode: what a node says of its copies and what it is told about them, as a custom resource. No I/O.

The controller writes ``spec``, the node's agent ``status``. Nothing that is read is believed: whatever is no entry of
the form that is written here is left out, and reading never raises. Only a guard errs on the safe side instead: one
that can't be understood keeps.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from csi_model.cluster.facts import Guarded
from csi_model.cluster.hostile import count, digest, each, either, mapping, seconds, text_or_empty
from csi_model.cluster.model_volume import GROUP_VERSION
from csi_model.cluster.trimming import version_of
from csi_model.core.copies import Copy, Guard, NodeReport, Orders, Wanted
from csi_model.core.records import exactly
from csi_model.core.templates import OBJECT_NAME
from csi_model.core.units import bytes_text
from csi_model.core.warmth import Warmth

Json = dict[str, Any]
PATH = f"/apis/{GROUP_VERSION}/modelnodes"
MAX_WANTED = 512
"""Entries of ``spec.wanted``; more are not written and not read."""
MAX_GUARDED = 1024
"""Entries of ``spec.guarded``, likewise."""
MAX_COPIES = 1024
"""Entries of ``status.copies``, likewise: cold ones are left out first."""
MAX_ERROR = 300
"""Characters of a copy's error."""
READY = "Ready"
"""Type of the one condition."""
_LAST_SECOND = 253_402_300_799.0  # of the year 9999


@dataclass(frozen=True, slots=True)
class ModelNode:
    """What is kept of a ModelNode.

    Attributes:
        name: of the object and the node.
        uid: which one of that name; "" if it doesn't say.
        generation: of the spec.
        owner_uid: of the Node that it belongs to; "" if it names none.
        heartbeat: when its agent last spoke, in seconds since the epoch; None if it never did.
        report: what it said; None if it never spoke.
        wanted: what it is told to have.
        guarded: what it is told not to evict, by revision.
        version: of the object; grows with each change. 0 if it isn't known.

    """

    name: str
    uid: str = ""
    generation: int = 0
    owner_uid: str = ""
    heartbeat: float | None = None
    report: NodeReport | None = None
    wanted: tuple[Wanted, ...] = ()
    guarded: Mapping[str, Guarded] = field(default_factory=dict)
    version: int = field(default=0, compare=False)

    @property
    def orders(self) -> Orders:
        """What its node is told."""
        return Orders(self.wanted, {revision: it.guard for revision, it in self.guarded.items()})


@dataclass(frozen=True, slots=True)
class Readiness:
    """The agent's condition.

    Attributes:
        ready: whether it can stage.
        since: when that became so, in seconds since the epoch.
        reason: one word in CamelCase.
        message: a sentence for people.

    """

    ready: bool
    since: float
    reason: str
    message: str


# reading


def trim(item: Json) -> ModelNode | None:
    """Read a whole object; None if it has no name."""
    metadata = mapping(item, "metadata")
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        return None
    return ModelNode(
        name=name,
        uid=text_or_empty(metadata.get("uid")),
        generation=either(0, lambda: count(metadata["generation"])),
        owner_uid=_owner(metadata),
        heartbeat=heartbeat_of(item),
        report=parse_report(item),
        wanted=_wanted_of(item),
        guarded=guarded_of(item),
        version=version_of(item),
    )


def parse_report(item: Json) -> NodeReport | None:
    """Read what the agent says; None if it never spoke."""
    status = mapping(item, "status")
    store = mapping(status, "store")
    if not store:
        return None
    copies = {copy.revision: copy for copy in each(status.get("copies"), _copy, MAX_COPIES)}
    return NodeReport(
        total=_size(store, "capacityBytes"),
        used=_size(store, "usedBytes"),
        available=_size(store, "availableBytes"),
        evictable=_size(store, "evictableBytes"),
        copies=tuple(copies[revision] for revision in sorted(copies)),
    )


def _size(store: Json, name: str) -> int:
    return either(0, lambda: count(store[name]))


def heartbeat_of(item: Json) -> float | None:
    """Return when the agent last spoke, in seconds since the epoch; None if it never did."""
    return either(None, lambda: seconds(mapping(item, "status")["heartbeat"]))


def parse_orders(item: Json) -> Orders:
    """Read what the node is told; the urgent ones come first."""
    return Orders(_wanted_of(item), {revision: it.guard for revision, it in guarded_of(item).items()})


def guarded_of(item: Json) -> dict[str, Guarded]:
    """Read what the node is told not to evict by itself."""
    entries = list(each(mapping(item, "spec").get("guarded"), _guarded, MAX_GUARDED))
    return dict(reversed(entries))  # the first of two counts, as with ``wanted``


def _wanted_of(item: Json) -> tuple[Wanted, ...]:
    found: dict[str, Wanted] = {}
    for wanted in each(mapping(item, "spec").get("wanted"), _wanted, MAX_WANTED):
        found.setdefault(wanted.revision, wanted)
    return tuple(sorted(found.values(), key=lambda wanted: not wanted.urgent))


def _copy(item: Json) -> Copy:
    size = count(item["bytes"])
    return Copy(
        revision=digest(item["revision"]),
        warmth=Warmth(exactly(str, item["warmth"])),
        bytes=size,
        present=min(size, count(item.get("presentBytes", 0))),
        rate=float(count(item.get("bytesPerSecond", 0))),
        held=exactly(bool, item.get("held", False)),
        pinned=exactly(bool, item.get("pinned", False)),
        released=seconds(item["released"]) if "released" in item else None,
        leaving=exactly(bool, item.get("leaving", False)),
        error=exactly(str, item.get("error", ""))[:MAX_ERROR],
    )


def _wanted(item: Json) -> Wanted:
    volume = exactly(str, item["volume"])
    if not OBJECT_NAME.match(volume):
        raise ValueError("no name of a ModelVolume")
    urgent, pin = exactly(bool, item.get("urgent", False)), exactly(bool, item.get("pin", False))
    return Wanted(digest(item["revision"]), volume, urgent, pin)


def _guarded(item: Json) -> tuple[str, Guarded]:
    revision = digest(item["revision"])
    return revision, either(
        Guarded(Guard.KEEP, 0.0), lambda: Guarded(Guard(exactly(str, item["state"])), seconds(item["since"]))
    )


def _owner(metadata: Json) -> str:
    owners = metadata.get("ownerReferences")
    for owner in owners if isinstance(owners, list) else ():
        if isinstance(owner, dict) and owner.get("kind") == "Node":
            return text_or_empty(owner.get("uid"))
    return ""


# writing


def render(name: str, owner_uid: str) -> Json:
    """Make the object of a node that is told nothing yet; it goes when the Node of that uid goes."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": owner_uid}
    return {
        "apiVersion": GROUP_VERSION,
        "kind": "ModelNode",
        "metadata": {"name": name, "ownerReferences": [owner]},
        "spec": render_spec((), {}),
    }


def render_spec(wanted: Iterable[Wanted], guarded: Mapping[str, Guarded]) -> Json:
    """Render what a node is told: always both lists, whole, as a merge patch needs them."""
    urgent_first = sorted(wanted, key=lambda it: not it.urgent)[:MAX_WANTED]
    return {
        "wanted": [
            {"revision": it.revision, "volume": it.volume, "urgent": it.urgent, "pin": it.pin} for it in urgent_first
        ],
        "guarded": [
            {"revision": revision, "state": it.guard.value, "since": time_text(it.since)}
            for revision, it in sorted(guarded.items())[:MAX_GUARDED]
        ],
    }


def render_status(
    report: NodeReport, *, generation: int, now: float, version: str, readiness: Readiness | None = None
) -> Json:
    """Render what an agent says: always all fields, as a merge patch needs them.

    Args:
        report: what is here.
        generation: of the spec that it has read.
        now: seconds since the epoch.
        version: of the agent.
        readiness: its condition; None for ready from now on.

    """
    copies = sorted(report.copies, key=lambda it: (it.warmth is Warmth.COLD, it.revision))[:MAX_COPIES]
    staged = sum(copy.warmth is Warmth.STAGED for copy in copies)
    return {
        "observedGeneration": generation,
        "heartbeat": time_text(now),
        "version": version[:64],
        "store": {
            "capacityBytes": report.total,
            "usedBytes": report.used,
            "availableBytes": report.available,
            "evictableBytes": report.evictable,
        },
        "capacity": bytes_text(report.total),
        "used": bytes_text(report.used),
        "staged": staged,
        "warming": _warming_text(copies),
        "copies": [_render_copy(copy) for copy in sorted(copies, key=lambda it: it.revision)],
        "conditions": [render_condition(readiness or Readiness(True, now, "Serving", ""), generation)],
    }


def time_text(seconds: float) -> str:
    """Render seconds since the epoch as RFC 3339, with microseconds; what no calendar has is the nearest it has."""
    return _when(seconds).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(min(max(0.0, seconds), _LAST_SECOND), UTC)


def _render_copy(copy: Copy) -> Json:
    item: Json = {
        "revision": copy.revision,
        "warmth": copy.warmth.value,
        "bytes": copy.bytes,
        "presentBytes": min(copy.bytes, copy.present),
        "bytesPerSecond": int(copy.rate),
        "held": copy.held,
        "pinned": copy.pinned,
        "leaving": copy.leaving,
    }
    if copy.released is not None:
        item["released"] = time_text(copy.released)
    if copy.error:
        item["error"] = copy.error[:MAX_ERROR]
    return item


def _warming_text(copies: list[Copy]) -> str:
    warming = [copy for copy in copies if copy.warmth is Warmth.WARMING]
    size = sum(copy.bytes for copy in warming)
    if not warming:
        return ""
    return f"{len(warming)} ({100 * sum(copy.present for copy in warming) // size if size else 100} %)"


def render_condition(readiness: Readiness, generation: int) -> Json:
    """Render an agent's condition."""
    return {
        "type": READY,
        "status": "True" if readiness.ready else "False",
        "observedGeneration": generation,
        "lastTransitionTime": _when(readiness.since).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "reason": readiness.reason,
        "message": readiness.message,
    }
