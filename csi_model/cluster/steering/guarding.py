"""Guarding: how a copy that pods may be steered to strictly is evicted without a pod coming to harm.

    Keep ── leaving, and nobody needs it ──> Withdrawn ── the label is gone for the grace ──> Released ──> (copy gone)
      ^                                          │                                               │
      └──────── needed, wanted, held, or not leaving any more (at every step) ───────────────────┘

The label goes first, so that the scheduler sends no more pods; the grace gives those time to be bound that it is
sending just now; a pod that was bound makes the copy needed.
"""

from collections.abc import Collection, Mapping

from csi_model.cluster.facts import Guarded, Node
from csi_model.core.copies import Copy, Guard
from csi_model.core.placement import label_of
from csi_model.core.warmth import Warmth


def guards(
    node: Node, required: Collection[str], needed: Collection[str], *, now: float, grace: float
) -> dict[str, Guarded]:
    """Return how far the eviction of each guarded copy of a node is; the same again while nothing changes.

    A silent node's guards stay as they are. Of a node that speaks, what is neither in its report nor required any more
    is guarded no longer.

    Args:
        node: to look at, with its guards until now.
        required: Revisions that have a ``require`` volume. Best a set.
        needed: Revisions that a pod bound to this node mounts. Best a set.
        now: seconds since the epoch.
        grace: seconds that a label has to be gone.

    """
    if not node.alive or node.report is None:
        return dict(node.guarded)
    return {
        copy.revision: _next(node, copy, needed, now=now, grace=grace)
        for copy in node.report.copies
        if copy.revision in required and copy.warmth is not Warmth.COLD
    }


def next_look(guards: Mapping[str, Guarded], now: float, grace: float) -> float | None:
    """Return in how many seconds a grace runs out; None if none runs."""
    ends = [guarded.since + grace for guarded in guards.values() if guarded.guard is Guard.WITHDRAWN]
    return max(0.0, min(ends) - now) if ends else None


def _next(node: Node, copy: Copy, needed: Collection[str], *, now: float, grace: float) -> Guarded:
    before = node.guarded.get(copy.revision)
    if before is None:
        before = Guarded(Guard.KEEP, now)
    since = max(now, before.since)  # two controllers' clocks may differ
    if not copy.leaving or copy.held or copy.revision in needed or copy.revision in node.wants:
        return before if before.guard is Guard.KEEP else Guarded(Guard.KEEP, since)
    if before.guard is Guard.RELEASED:
        return before
    if before.guard is Guard.KEEP or label_of(copy.revision) in node.labels:
        return Guarded(Guard.WITHDRAWN, since)
    return Guarded(Guard.RELEASED, since) if now - before.since >= grace else before
