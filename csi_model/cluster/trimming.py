"""Trimming: what is kept of the API's objects, as values; most of each is thrown away on arrival.

Whatever the API sends gives a value or None; nothing raises. Texts that thousands of objects share are kept once.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from sys import intern
from typing import Any, TypeVar

from csi_model import DRIVER_NAME
from csi_model.cluster.facts import Taint, Volume
from csi_model.cluster.model_volume import wants_in
from csi_model.core.fields import Auth
from csi_model.core.placement import Placement, Wants, read_replicas, read_selector
from csi_model.core.records import wants_from_json
from csi_model.core.volume import Claim

Json = dict[str, Any]
T = TypeVar("T")
NODE_ID = "csi.volume.kubernetes.io/nodeid"
"""Annotation that kubelet writes on its Node: the drivers that are registered there."""
NOT_READY = f"{DRIVER_NAME}/agent-not-ready"
"""Taint that keeps pods away until the agent is up, for nodes that autoscalers make."""
_DIGITS = 20  # of a resourceVersion
_MOST = 512  # of what one object may list


@dataclass(frozen=True, slots=True)
class KnownVolume:
    """A ModelVolume: what decisions need, and what its status says now."""

    facts: Volume
    status: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A Node.

    Attributes:
        name: of the Node.
        uid: which one of that name.
        labels: all of them.
        schedulable: whether it isn't cordoned.
        taints: that keep pods away.
        registered: whether our agent is registered with its kubelet.
        version: of the object; grows with each change. 0 if it isn't known.

    """

    name: str
    uid: str
    labels: Mapping[str, str]
    schedulable: bool = True
    taints: tuple[Taint, ...] = ()
    registered: bool = False
    version: int = field(default=0, compare=False)


def trim_volume(item: Json) -> KnownVolume | None:
    """Trim a ModelVolume; None if it is damaged."""
    return _tried(_volume, item)


def trim_node(item: Json) -> KnownNode | None:
    """Trim a Node; None if it is damaged."""
    return _tried(_node, item)


def seconds_of(text: Any) -> float:
    """Read a time of the API as seconds since the epoch; 0 if it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _tried(trim: Callable[[Json], T | None], item: Json) -> T | None:
    try:
        return trim(item)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return None


def _volume(item: Json) -> KnownVolume:
    metadata, spec = item["metadata"], item["spec"]
    context, claim = spec.get("context") or {}, spec.get("claim")
    size = spec["bytes"]
    if type(size) is not int or not 0 <= size < 2**63:
        raise ValueError("no size")
    facts = Volume(
        name=_text(metadata["name"]),
        revision=intern(_text(spec["revision"])),
        bytes=size,
        source=_text(spec.get("source") or ""),
        placement=Placement(spec.get("placement") or context.get("placement") or Placement.PREFER),
        wants=_wants(spec, context),
        warmable=context.get("auth") in (Auth.AMBIENT, Auth.ANONYMOUS),
        claim=Claim(_text(claim["namespace"]), _text(claim["name"]), claim.get("uid")) if claim else None,
        generation=metadata.get("generation") or 0,
        created=seconds_of(metadata.get("creationTimestamp")),
    )
    status = item.get("status")
    return KnownVolume(facts, status if isinstance(status, dict) else {})


def _wants(spec: Json, context: Mapping[str, str]) -> Wants:
    """Read what the object says, or else what the volume was made with; what makes no sense wants nothing."""
    said = wants_in(spec)
    if said is not None:
        return wants_from_json(said)
    pin = context.get("pin") == "true"
    try:
        selector = read_selector(context.get("warmNodeSelector", ""))
        return Wants(read_replicas(context.get("warmReplicas", "0")), selector, pin)
    except ValueError:
        return Wants(pin=pin)


def _node(item: Json) -> KnownNode:
    metadata, spec = item["metadata"], item.get("spec") or {}
    labels = {intern(_text(key)): intern(_text(value)) for key, value in (metadata.get("labels") or {}).items()}
    taints = tuple(
        Taint(intern(_text(taint["key"])), intern(_text(taint.get("value") or "")), intern(_text(taint["effect"])))
        for taint in (spec.get("taints") or [])[:_MOST]
    )
    return KnownNode(
        intern(_text(metadata["name"])), _text(metadata["uid"]), labels,
        schedulable=spec.get("unschedulable") is not True, taints=taints, registered=_is_registered(metadata),
        version=version_of(item),
    )  # fmt: skip


def _is_registered(metadata: Json) -> bool:
    try:
        return DRIVER_NAME in json.loads((metadata.get("annotations") or {}).get(NODE_ID) or "{}")
    except (TypeError, ValueError, RecursionError):  # what isn't kubelet's word mustn't hide the node
        return False


def version_of(item: Json) -> int:
    """Return an object's resourceVersion as a number that grows with each change; 0 if it isn't one."""
    version = (item.get("metadata") or {}).get("resourceVersion")
    return int(version) if isinstance(version, str) and version.isdecimal() and len(version) < _DIGITS else 0


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
