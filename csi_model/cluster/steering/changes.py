"""Changes: which news of a node matter, and for what."""

from collections.abc import Collection, Mapping

from csi_model.cluster.facts import Node
from csi_model.cluster.steering.dirty import Dirty
from csi_model.cluster.steering.labelling import PREFIX
from csi_model.core.copies import Copy
from csi_model.core.warmth import Warmth

_ORDER = (Warmth.COLD, Warmth.WARMING, Warmth.STAGED)


def mark(dirty: Dirty, name: str, old: Node | None, new: Node | None, required: Collection[str]) -> None:
    """Mark what news of a node concern.

    Args:
        dirty: where.
        name: of the node.
        old: what was known of it.
        new: what is known now.
        required: revisions that have a volume with placement ``require``.

    """
    before, after = old.copies if old else {}, new.copies if new else {}
    wanted = new.wants if new else {}
    for revision in before.keys() | after.keys():
        was, now = before.get(revision), after.get(revision)
        if was == now:
            continue
        dirty.standings.add(revision)
        if weight(was) == weight(now):
            continue
        dirty.nodes.add(name)
        relieves = revision in required and now is not None and now.warmth is Warmth.STAGED
        # What is staged now may be what another copy was kept for: there has to be one where pods can only go to those.
        if relieves or not (revision in wanted and as_expected(was, now)):
            dirty.revisions.add(revision)
    _mark_suitability(dirty, name, old, new)


def _mark_suitability(dirty: Dirty, name: str, old: Node | None, new: Node | None) -> None:
    """Mark who may want to be elsewhere now."""
    same = old is not None and new is not None and old.labels is new.labels
    relabelled = not same and others_labels(old) != others_labels(new)
    if relabelled or _suits(old) != _suits(new):
        dirty.joined.add(name)
        dirty.nodes.add(name)
        dirty.revisions |= concerned(old) | concerned(new)
    if _room(new) > _room(old):
        dirty.roomier = True


def concerned(node: Node | None) -> set[str]:
    """Return the revisions that a node has something of, or is told to have."""
    return {*node.copies, *node.wants} if node is not None else set()


def _suits(node: Node | None) -> object:
    return node and (node.alive, node.schedulable, node.taints)


def _room(node: Node | None) -> int:
    return node.report.available + node.report.evictable if node and node.report and node.alive else 0


def weight(copy: Copy | None) -> object:
    """Return what labels, guards and choices go by: all but the progress."""
    return copy and (
        copy.warmth, copy.bytes, copy.held, copy.pinned, copy.released, copy.leaving, bool(copy.error)
    )  # fmt: skip


def as_expected(was: Copy | None, now: Copy | None) -> bool:
    """Tell whether a copy that is wanted goes the way it should: who chose the node needn't choose again."""
    if now is None or now.error:
        return False
    return _ORDER.index(now.warmth) >= (_ORDER.index(was.warmth) if was else 0)


def others_labels(node: Node | None) -> Mapping[str, str] | None:
    """Return the labels that others gave a node; None if there is no node."""
    if node is None:
        return None
    return {key: value for key, value in node.labels.items() if not key.startswith(PREFIX)}


def our_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of revisions."""
    return {key: value for key, value in labels.items() if key.startswith(PREFIX)}
