"""Ranking: which of several nodes is the better one for a Revision.

Nodes that have it, or want it already, come before all others, so that a choice stays as it is while it can. Among
nodes that are alike a hash of node and Revision decides (rendezvous hashing): it spreads Revisions evenly, says the
same to everybody who asks, and when a node comes or goes only that node's share moves.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from csi_model.cluster.facts import Node
from csi_model.cluster.steering.fitting import evictable, leavable, missing, queued, tainted
from csi_model.core.copies import Guard
from csi_model.core.warmth import Warmth

Group = tuple[str, ...]
"""The Revisions that one pod needs together, sorted."""


@dataclass(frozen=True, slots=True)
class Supposed:
    """What is taken to be wanted: what a choice orders must not depend on whether it was ordered already.

    Attributes:
        revision: that is being chosen for.
        nodes: names of those that want it.
        groups: names of the nodes that each group of Revisions was given, besides what their nodes say.

    """

    revision: str
    nodes: frozenset[str]
    groups: Mapping[Group, frozenset[str]]

    def wanted(self, node: Node, revision: str, group: Group) -> bool:
        """Tell whether a node wants a Revision of a group.

        Of a group of several nothing is supposed that the choices for the others wouldn't suppose as well.
        """
        if len(group) == 1 and revision == self.revision:
            return node.name in self.nodes
        return revision in node.wants or node.name in self.groups.get(group, ())


def staged(node: Node, revision: str) -> bool:
    """Tell whether the whole copy is there and stays, as far as its node says."""
    copy = node.copies.get(revision)
    if copy is None or copy.warmth is not Warmth.STAGED:
        return False
    guarded = node.guarded.get(revision)
    return guarded is None or guarded.guard is not Guard.RELEASED


def effort(node: Node, sizes: Mapping[str, int], revisions: Collection[str], *, wanted: bool) -> int | None:
    """Tell what it takes to make room for all of these Revisions: the less the better; None if it can't be made.

    0: nothing has to go, or nothing is missing. 1: the node has to evict others. 2: it needs leave to do so.

    Args:
        node: to look at.
        sizes: of all Revisions.
        revisions: that shall be there.
        wanted: whether all of them that haven't begun are wanted there already: they have a place in the queue then.

    """
    need = sum(missing(node, revision, sizes) for revision in revisions if not node.begun(revision))
    if not need:
        return 0
    if node.report is None:
        return None
    need += queued(node, sizes, revisions, wanted=wanted)
    if need <= node.report.available:
        return 0
    can_free = evictable(node, but=revisions)
    if need <= node.report.available + can_free:
        return 1
    return 2 if need <= node.report.available + can_free + leavable(node, but=revisions) else None


def spread(revision: str, node: str) -> bytes:
    """Return the place of a node among equals; the least is the best."""
    return blake2b(f"{revision}/{node}".encode(), digest_size=8).digest()


def known(nodes: Iterable[Node], chosen: Collection[str], sizes: Mapping[str, int], supposed: Supposed) -> list[Node]:
    """Return those that have a Revision, or want it and still have room, the best first.

    Staged ones; then those that are chosen anyhow, then wanted ones, then those where it is being brought or about to
    be evicted: of each the one that has the most bytes. What fails on a node doesn't count against it: it would fail on
    another one too.
    """
    revision = supposed.revision
    found: list[tuple[tuple[object, ...], Node]] = []
    for node in nodes:
        copy, name = node.copies.get(revision), node.name
        if staged(node, revision):
            key: tuple[object, ...] = (0, copy is not None and copy.leaving, name not in chosen,
                                       name not in supposed.nodes, 0, name)  # fmt: skip
        elif name in chosen or name in supposed.nodes or node.begun(revision):
            if name not in chosen and effort(node, sizes, (revision,), wanted=name in supposed.nodes) is None:
                continue
            present = copy.present if copy is not None else 0
            key = (1, False, name not in chosen, name not in supposed.nodes, -present, name)
        else:
            continue
        found.append((key, node))
    return [node for _, node in sorted(found, key=lambda each: each[0])]


def fresh(nodes: Iterable[Node], chosen: Collection[str], sizes: Mapping[str, int], supposed: Supposed) -> list[Node]:
    """Return those that have room and neither have a Revision nor want it, the best first.

    Those without a taint (a control plane has one; who wants copies on tainted nodes says so by a selector), then those
    that have most of its bytes, then those that have to evict nothing, then by the hash.
    """
    revision = supposed.revision
    found = []
    for node in nodes:
        if node.name in chosen or node.name in supposed.nodes or node.begun(revision):
            continue
        takes = effort(node, sizes, (revision,), wanted=False)
        if takes is not None:
            key = (tainted(node), missing(node, revision, sizes), takes, spread(revision, node.name))
            found.append((key, node))
    return [node for _, node in sorted(found, key=lambda each: each[0])]


def best_for(
    group: Group, nodes: Iterable[Node], serves: Mapping[str, int], sizes: Mapping[str, int], supposed: Supposed
) -> Node | None:
    """Return the node that a pod with these Revisions should wait for; None if none has room for what it lacks.

    One that has or wants all of them, then by how many are staged, had or wanted, by bytes that are there, by how many
    kinds of waiting pods could use it, by what room takes, by the hash. Nothing in it depends on which of the
    Revisions is being chosen for, so that the choices for all of them come to the same node.
    """
    classes: dict[tuple[bool, int, int, int, int], list[Node]] = {}
    for node in nodes:
        here = [staged(node, revision) for revision in group]
        had = sum(
            is_staged or node.begun(revision) or supposed.wanted(node, revision, group)
            for is_staged, revision in zip(here, group, strict=True)
        )
        present = sum(copy.present for revision in group if (copy := node.copies.get(revision)) is not None)
        key = (had == len(group), sum(here), had, present, serves.get(node.name, 0))
        classes.setdefault(key, []).append(node)
    for key in sorted(classes, reverse=True):
        fitting = [
            (takes, node)
            for node in classes[key]
            if (takes := effort(node, sizes, group, wanted=key[0])) is not None  # all are had
        ]
        if fitting:
            return min(fitting, key=lambda each: (each[0], spread(group[0], each[1].name)))[1]
    return None
