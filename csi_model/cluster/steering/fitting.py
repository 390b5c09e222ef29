"""Fitting: which nodes a pod could use, and how much room a node has for one more copy."""

from collections.abc import Collection, Mapping

from csi_model.cluster.facts import Node, Pod, Requirement, Taint, Toleration

NAME_KEY = "metadata.name"
_HARD = ("NoSchedule", "NoExecute")
_CORDON = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")


def usable(pod: Pod, node: Node) -> bool:
    """Tell whether the scheduler could put a pod on a node, as far as cordon, taints, selector and affinity say.

    What else the pod asks for (CPU, GPUs, ports, spread) changes all the time and is not looked at.
    """
    return (
        (node.schedulable or _tolerated(pod, _CORDON))
        and all(_tolerated(pod, taint) for taint in node.taints)
        and all(node.labels.get(key) == value for key, value in pod.selector.items())
        and (not pod.affinity or any(_holds(term, node) for term in pod.affinity))
    )


def tainted(node: Node) -> bool:
    """Tell whether a taint keeps ordinary pods away."""
    return any(taint.effect in _HARD for taint in node.taints)


def named(pod: Pod) -> set[str] | None:
    """Return the names of the only nodes that a pod's affinity allows; None if it isn't by name (DaemonSets' are)."""
    names: set[str] = set()
    for term in pod.affinity:
        lists = [set(it.values) for it in term if it.key == NAME_KEY and it.operator == "In"]
        if not lists:
            return None
        names |= set.intersection(*lists)
    return names if pod.affinity else None


def _tolerated(pod: Pod, taint: Taint) -> bool:
    return taint.effect not in _HARD or any(_tolerates(toleration, taint) for toleration in pod.tolerations)


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect not in ("", taint.effect):
        return False
    if not toleration.key:
        return toleration.exists
    return toleration.key == taint.key and (toleration.exists or toleration.value == taint.value)


def _holds(term: tuple[Requirement, ...], node: Node) -> bool:
    return bool(term) and all(_met(requirement, node) for requirement in term)  # an empty term matches nothing


def _met(requirement: Requirement, node: Node) -> bool:
    value = node.name if requirement.key == NAME_KEY else node.labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(requirement, value)
    return False


def _compares(requirement: Requirement, value: str | None) -> bool:
    try:
        number, bound = int(value or ""), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return number > bound if requirement.operator == "Gt" else number < bound


def missing(node: Node, revision: str, sizes: Mapping[str, int]) -> int:
    """Return the bytes that a Revision which hasn't begun still needs on a node."""
    copy = node.copies.get(revision)
    return max(0, sizes.get(revision, 0) - (copy.present if copy is not None else 0))


def room(node: Node, sizes: Mapping[str, int], *, without: str) -> int:
    """Return the bytes that a node has for a Revision: available + evictable less what is queued there.

    Queued is what is wanted there and hasn't begun. If the Revision itself is, only what comes before it counts: where
    more is wanted than there is room for, those that come last give way and not all of them.

    Args:
        node: to look at; one that never spoke has no room.
        sizes: of all Revisions.
        without: the Revision that the room is for.

    """
    if node.report is None:
        return 0
    waiting = queued(node, sizes, (without,), wanted=without in node.wants)
    return node.report.available + node.report.evictable - waiting


def leavable(node: Node, *, but: Collection[str] = ()) -> int:
    """Return the bytes of guarded copies that a node would get leave to evict: neither held nor wanted there."""
    return sum(_idle(node, revision) for revision in node.guarded if revision not in but)


def evictable(node: Node, *, but: Collection[str] = ()) -> int:
    """Return the bytes that a node can free by itself, but for the copies of some Revisions that it has."""
    if node.report is None:
        return 0
    own = sum(_idle(node, revision) for revision in but if revision not in node.guarded)
    return max(0, node.report.evictable - own)


def _idle(node: Node, revision: str) -> int:
    copy = node.copies.get(revision)
    return 0 if copy is None or copy.held or revision in node.wants else copy.present


def queued(node: Node, sizes: Mapping[str, int], revisions: Collection[str], *, wanted: bool) -> int:
    """Return the bytes of others that are wanted on a node, haven't begun, and come before these Revisions.

    Args:
        node: to look at.
        sizes: of all Revisions.
        revisions: which aren't counted.
        wanted: whether those of them that haven't begun are wanted there. Then urgent others come before them, and
            those with a lesser digest; all do otherwise.

    """
    if not node.queue:
        return 0
    last = max((revision for revision in revisions if not node.begun(revision)), default="") if wanted else None
    return sum(
        missing(node, other.revision, sizes)
        for other in node.queue
        if other.revision not in revisions and (last is None or other.urgent or other.revision < last)
    )
