"""Copies: what a node says of the Revisions on its disk, and what it is told to do about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from csi_model.core.warmth import Warmth


@dataclass(frozen=True, slots=True)
class Copy:
    """One Revision on one node, at one instant.

    Attributes:
        revision: Manifest digest.
        warmth: how much of it is here; cold with an ``error`` if it was to be brought and couldn't.
        bytes: size of the Revision.
        present: bytes that are here.
        rate: bytes per second over the last seconds; 0 when unknown.
        held: whether a volume of this node holds it, or a pod has it mounted: it isn't evicted then.
        pinned: whether it goes last.
        released: when the last hold ended, in seconds since the epoch; None while held or unknown.
        leaving: whether the node would like to evict it and waits for leave (only of guarded ones).
        error: why it couldn't be brought, for people; "" if nothing is wrong.

    """

    revision: str
    warmth: Warmth
    bytes: int
    present: int = 0
    rate: float = 0.0
    held: bool = False
    pinned: bool = False
    released: float | None = None
    leaving: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node's agent says of its store, at one instant; sizes in bytes.

    Attributes:
        total: of the file system.
        used: by anybody.
        available: what a new copy could get below the high watermark without evicting anything; never negative.
        evictable: what evicting copies that are neither held, nor wanted, nor guarded would free.
        copies: every Revision that is here or being brought, sorted by digest.

    """

    total: int = 0
    used: int = 0
    available: int = 0
    evictable: int = 0
    copies: tuple[Copy, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A Revision that a node shall have.

    Attributes:
        revision: Manifest digest.
        volume: name of a ModelVolume of this Revision whose rights bring it.
        urgent: whether a pod on this node waits for it: it is brought before what is only wanted ahead.
        pin: whether it is evicted last.

    """

    revision: str
    volume: str
    urgent: bool = False
    pin: bool = False


class Guard(StrEnum):
    """How far the eviction of a copy is that pods may be steered to strictly (placement ``require``)."""

    KEEP = "Keep"  # the node has to ask first (Copy.leaving)
    WITHDRAWN = "Withdrawn"  # the label is withdrawn; pods that were bound meanwhile still count
    RELEASED = "Released"  # nobody needs it: it may be deleted


@dataclass(frozen=True, slots=True)
class Orders:
    """What a node is told.

    Attributes:
        wanted: what it shall have, the urgent ones first.
        guarded: revisions that it may not evict by itself, and how far their eviction is.

    """

    wanted: tuple[Wanted, ...] = ()
    guarded: Mapping[str, Guard] = field(default_factory=dict)
