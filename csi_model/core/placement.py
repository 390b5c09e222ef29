"""Placement: how a volume steers its pods, and on how many nodes it wants to be staged before any pod asks.

How it steers is the volume's for ever; what it wants can be changed while it lives (CSI's mutable parameters).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from csi_model import DRIVER_NAME

NODE_KEY = f"{DRIVER_NAME}/node"
"""Topology key of a node, which never changes while the node lives."""
STAGED, WARMING = "staged", "warming"
"""The two values of a revision's label: what is true of the node now."""
ALL = -1
"""As a number of replicas: every node that may hold the volume."""
MAX_REPLICAS = 100_000
_DIGITS = 40  # of a manifest digest: a label's name has at most 63 characters
_LABEL_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?\Z")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?\Z")


class Placement(StrEnum):
    """Where the pods of a volume go."""

    PREFER = "prefer"  # rather to nodes where it is staged; anywhere if those are full
    REQUIRE = "require"  # only to nodes where it is staged
    ANY = "any"  # anywhere: nothing is labelled for it


@dataclass(frozen=True, slots=True)
class Wants:
    """What a volume wants of the cluster; changeable while it lives.

    Attributes:
        replicas: nodes on which it shall be staged whether or not a pod uses it; :data:`ALL` for every node that
            ``node_selector`` matches.
        node_selector: labels that such a node has to have, sorted by key; empty matches every node.
        pin: evicted only when nothing else can go.

    """

    replicas: int = 0
    node_selector: tuple[tuple[str, str], ...] = ()
    pin: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a node with these labels may be counted on."""
        return all(labels.get(key) == value for key, value in self.node_selector)


def label_of(revision: str) -> str:
    """Return the key of a revision's label, which is its topology key too.

    Args:
        revision: a Manifest digest of 64 hexadecimal digits.

    """
    return f"{DRIVER_NAME}/m-{revision[:_DIGITS]}"


def read_replicas(text: str) -> int:
    """Read a number of replicas; raises ValueError with what is wrong."""
    if text == "all":
        return ALL
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) > MAX_REPLICAS:
        raise ValueError(f"is {text[:80]!r}, want a number of nodes or all")
    return int(text)


def render_replicas(replicas: int) -> str:
    """Render a number of replicas as :func:`read_replicas` reads it."""
    return "all" if replicas == ALL else str(replicas)


def read_selector(text: str) -> tuple[tuple[str, str], ...]:
    """Read a selector such as ``gpu=h100,zone=a``; raises ValueError with what is wrong."""
    found: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, separator, value = (side.strip() for side in part.partition("="))
        if not separator or not _LABEL_KEY.match(key) or not _LABEL_VALUE.match(value):
            raise ValueError(f"has {part[:80]!r}, want label=value, separated by commas")
        if found.setdefault(key, value) != value:
            raise ValueError(f"wants two values of the label {key}")
    return tuple(sorted(found.items()))


def render_selector(selector: tuple[tuple[str, str], ...]) -> str:
    """Render a selector as :func:`read_selector` reads it."""
    return ",".join(f"{key}={value}" for key, value in selector)
