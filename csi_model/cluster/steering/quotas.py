"""Quotas: how many bytes a namespace's claims may still add to the nodes' disks ahead of pods.

What counts for a namespace is what its claims ask for, not what lies around: of each Revision as many copies (staged,
being brought, or wanted) on nodes that a claim's selector matches as the claim has replicas; for a ``require`` claim
also all that are wanted anywhere. A copy that the claims of two namespaces ask for counts for both. A quota that is
lowered takes nothing away.
"""

from collections.abc import Collection, Mapping

from csi_model.cluster.facts import Node, Volume
from csi_model.core.placement import ALL, Placement

DEFAULT = "*"
"""Stands for every namespace that has no quota of its own."""


def allowed(quotas: Mapping[str, int], volumes: Collection[Volume], nodes: Mapping[str, Node]) -> dict[str, int]:
    """Return by namespace what its claims may still add, in bytes; a namespace that is absent has no quota.

    Args:
        quotas: bytes by namespace; ``*`` is the quota of everybody who has none of their own.
        volumes: all.
        nodes: all, by name.

    """
    asking: dict[str, list[Volume]] = {}
    for volume in volumes:
        if volume.claim is not None and (volume.claim.namespace in quotas or DEFAULT in quotas):
            asking.setdefault(volume.claim.namespace, []).append(volume)
    where = _where({volume.revision for claimed in asking.values() for volume in claimed if _ahead(volume)}, nodes)
    return {
        namespace: max(0, quotas.get(namespace, quotas.get(DEFAULT, 0)) - _used(claimed, where))
        for namespace, claimed in sorted(asking.items())
    }


def _ahead(volume: Volume) -> bool:
    return volume.warmable and (volume.wants.replicas != 0 or volume.placement is Placement.REQUIRE)


def _where(revisions: set[str], nodes: Mapping[str, Node]) -> dict[str, list[Node]]:
    """Return by revision the nodes that have it, or shall."""
    where: dict[str, list[Node]] = {}
    for node in nodes.values():
        for revision in revisions & (node.copies.keys() | node.wants.keys()):
            if revision in node.wants or node.begun(revision):
                where.setdefault(revision, []).append(node)
    return where


def _used(volumes: Collection[Volume], where: Mapping[str, list[Node]]) -> int:
    by_revision: dict[str, list[Volume]] = {}
    for volume in volumes:
        by_revision.setdefault(volume.revision, []).append(volume)
    return sum(
        claimed[0].bytes * _count(claimed, where.get(revision, ()), _wanting(where.get(revision, ()), revision))
        for revision, claimed in by_revision.items()
    )


def _wanting(nodes: Collection[Node], revision: str) -> set[str]:
    return {node.name for node in nodes if revision in node.wants}


def _count(volumes: Collection[Volume], nodes: Collection[Node], wanting: Collection[str]) -> int:
    """Return how many copies of a Revision count for one namespace.

    Args:
        volumes: of this Revision and namespace.
        nodes: that have it or shall have it.
        wanting: names of those that it is wanted on.

    """
    most = 0  # two claims can share copies
    for volume in filter(_ahead, volumes):
        count = sum(volume.wants.matches(node.labels) for node in nodes)
        if volume.wants.replicas != ALL:
            count = min(count, volume.wants.replicas)
        strictly = len(wanting) if volume.placement is Placement.REQUIRE else 0
        most = max(most, count, strictly)
    return most
