"""Lacks: why fewer nodes have a Revision than shall, in words for people."""

from collections.abc import Collection, Mapping

from csi_model.cluster.facts import Node, Pod, Volume
from csi_model.cluster.steering.fitting import leavable, room
from csi_model.core.placement import ALL, render_selector
from csi_model.core.units import bytes_text


def nodes_text(count: int, what: str = "node") -> str:
    """Render a number of nodes."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def too_few(volume: Volume, matching: Collection[Node], others: Collection[Node]) -> str:
    """Tell that fewer nodes match than are wanted.

    Args:
        volume: that wants them.
        matching: those that may be counted on.
        others: those that match and may not, because they are cordoned or silent.

    """
    count, wanted, selector = len(matching), volume.wants.replicas, render_selector(volume.wants.node_selector)
    some = nodes_text(count) if count else "no node"
    which = f"{'match' if count > 1 else 'matches'} {selector}" if selector else "can be used"
    silent = sum(not node.alive or node.report is None for node in others)
    notes = [
        f"{number} {'more ' if count else ''}{'is' if number == 1 else 'are'} {state}"
        for number, state in ((len(others) - silent, "cordoned"), (silent, "silent"))
        if number
    ]
    aside = f" ({', '.join(notes)})" if notes else ""
    return f"{some} {which}{aside}, {wanted} {'is' if wanted == 1 else 'are'} wanted"


def no_room(volume: Volume, matching: Collection[Node], without: Collection[Node], sizes: Mapping[str, int]) -> str:
    """Tell that nodes which match have no room.

    Args:
        volume: that wants them.
        matching: those that may be counted on.
        without: those of them that have no room; never empty.
        sizes: of all Revisions.

    """
    selector = render_selector(volume.wants.node_selector)
    which = f" that match {selector}" if selector else ""
    size, most = bytes_text(volume.bytes), _most(without, sizes, volume.revision)
    wanted = len(matching) if volume.wants.replicas == ALL else volume.wants.replicas
    if len(without) == len(matching):
        return f"no node of the {len(matching)}{which} has room for {size}: {most}"
    have = len(matching) - len(without)
    return (
        f"{have} of the {nodes_text(len(matching))}{which} {'has' if have == 1 else 'have'} room for {size}, "
        f"{wanted} are wanted: {most}"
    )


def no_node_at_all(revision: str, nodes: Collection[Node], sizes: Mapping[str, int]) -> str:
    """Tell that a Revision which pods need strictly can be nowhere."""
    if not nodes:
        return "no node has an agent that speaks and isn't cordoned"
    return f"no node of the {len(nodes)} has room for {bytes_text(sizes[revision])}: {_most(nodes, sizes, revision)}"


def no_node_for(pod: Pod, revision: str, bytes_: int, usable: Collection[Node], sizes: Mapping[str, int]) -> str:
    """Tell that a waiting pod has no node: none that it could use, or none with room for all that it needs."""
    who = f"pod {pod.namespace}/{pod.name}"
    if not usable:
        return f"{who} can use no node that has an agent: see its selector, affinity and tolerations"
    most = _most(usable, sizes, revision)
    return f"no node of the {len(usable)} that {who} could use has room for {bytes_text(bytes_)}: {most}"


def over_quota(namespace: str, bytes_: int, left: int) -> str:
    """Tell that a namespace's quota is used up."""
    return f"the quota of namespace {namespace} leaves {bytes_text(left)}, a copy more has {bytes_text(bytes_)}"


def secret() -> str:
    """Tell that nobody may bring it ahead of a pod."""
    return (
        "its source is read with the secret of a pod's volume (auth: secret), so that nothing can bring it before a "
        "pod does: use auth: ambient or anonymous"
    )


def _most(nodes: Collection[Node], sizes: Mapping[str, int], revision: str) -> str:
    most, name = max((room(node, sizes, without=revision) + leavable(node), node.name) for node in nodes)
    return f"the most is {bytes_text(max(0, most))} on {name}"
