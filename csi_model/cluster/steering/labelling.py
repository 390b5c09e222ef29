"""Labelling: what a node's labels have to say of the Revisions on it. Only the truth, and of no other key."""

from collections.abc import Mapping

from csi_model import DRIVER_NAME
from csi_model.cluster.facts import Node
from csi_model.core.copies import Copy, Guard
from csi_model.core.placement import STAGED, WARMING, Placement, label_of
from csi_model.core.warmth import Warmth

PREFIX = f"{DRIVER_NAME}/m-"
"""Of every label that is written and removed here."""


def labels_due(node: Node, steered: Mapping[str, Placement], *, most: int) -> dict[str, str]:
    """Return the labels that a node has to have under our prefix, by key.

    ``staged`` is due while the node's agent speaks, says that the whole copy is there, and its eviction hasn't begun;
    ``warming`` while it is being brought. If more are due than may be, those stay that a ``require`` volume needs, then
    those that are held, wanted there, warming, and released last.

    Args:
        node: to look at.
        steered: by revision, the strictest placement of its volumes; without one, or with ``any``, none is due.
        most: labels that a node may have.

    """
    found = [
        (copy, value)
        for copy in node.copies.values()
        if steered.get(copy.revision, Placement.ANY) is not Placement.ANY and (value := _value(node, copy))
    ]
    found.sort(key=lambda each: _order(node, each[0], steered))
    return {label_of(copy.revision): value for copy, value in found[:most]}


def _value(node: Node, copy: Copy) -> str:
    if copy.warmth is Warmth.WARMING:
        return WARMING
    guarded = node.guarded.get(copy.revision)
    kept = guarded is None or guarded.guard is Guard.KEEP
    return STAGED if kept and copy.warmth is Warmth.STAGED else ""


def _order(node: Node, copy: Copy, steered: Mapping[str, Placement]) -> tuple[bool, bool, bool, bool, float, str]:
    return (
        steered[copy.revision] is not Placement.REQUIRE,
        not copy.held,
        copy.revision not in node.wants,
        copy.warmth is not Warmth.WARMING,
        -(copy.released or 0.0),
        copy.revision,
    )
