"""Wanting: which nodes shall have a Revision.

Level-triggered: a choice follows from the facts alone and repeats itself while they stay. These are the rules, in the
order in which they are kept:

1. **Bound**: a node with a pod bound to it that lacks the copy gets it urgently, whatever else is true of the node.
2. **Waiting**: for each kind of pod that waits there is a node that it could use and that has, or will have, all of its
   Revisions. One node serves as many kinds as it can.
3. **Ahead**: each volume has its replicas on nodes that match its selector, aren't cordoned and whose agent speaks;
   taints don't count. ``all`` is every such node, and the cordoned ones where it is staged already. A cordoned node's
   copy is no use to new pods: it counts as a replica only where nothing else does. Volumes of one Revision share.
4. **Never nowhere**: with a ``require`` volume there is one node at least that isn't cordoned, outside its selector if
   need be; and while the copy is staged on such nodes, one of these, until another one has it.

A node that has the copy comes before one that wants it, that before one where it is being brought, that before any
other (``ranking``). Nothing is wanted where there is no room for it or beyond a namespace's quota, but by rule 1; nor
by a volume that nobody could bring. A failure moves nothing; lack of room does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from csi_model.cluster.facts import Node
from csi_model.cluster.steering import lacks
from csi_model.cluster.steering.choosing import Ground, Round
from csi_model.cluster.steering.demand import Demand
from csi_model.cluster.steering.ranking import Supposed
from csi_model.core.copies import Wanted
from csi_model.core.placement import ALL, Placement

_ROUNDS = 8  # two or three settle it; a bound, since a loop must have one
_SAID = 3  # reasons in one sentence


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a Revision shall be.

    Attributes:
        wanted: by name of the node, sorted.
        replicas: how many nodes are wanted in all; more than ``wanted`` has if some can't be had.
        lacking: why there are fewer, for people; "" if there are not.

    """

    wanted: Mapping[str, Wanted] = field(default_factory=dict)
    replicas: int = 0
    lacking: str = ""


def choose(demand: Demand, nodes: Mapping[str, Node], sizes: Mapping[str, int], allowed: Mapping[str, int]) -> Choice:
    """Choose the nodes that shall have a Revision.

    Args:
        demand: what is asked of it.
        nodes: all that have an agent, by name, with what is wanted of them now.
        sizes: of all Revisions, in bytes.
        allowed: by namespace, bytes that its claims may still add; absent is unlimited. It has to know of what was
            chosen for other demands just before.

    """
    bringers = [volume for volume in demand.volumes if volume.warmable]
    strictly = demand.placement is Placement.REQUIRE
    if not (strictly or demand.bound or demand.waiting or any(volume.wants.replicas for volume in demand.volumes)):
        return Choice()
    if not bringers:
        return _nobody(demand)
    ground = Ground(demand, nodes, {**sizes, demand.revision: demand.bytes}, allowed)
    had = frozenset(name for name, node in nodes.items() if demand.revision in node.wants)
    round_ = Round(ground, Supposed(demand.revision, had, {}), {})
    for _ in range(_ROUNDS):
        if round_.chosen.keys() == round_.supposed.nodes and round_.placed == round_.supposed.groups:
            break
        round_ = Round(ground, Supposed(demand.revision, frozenset(round_.chosen), round_.placed), round_.payers)
    bringer = min(bringers, key=lambda volume: (volume.created, volume.name)).name
    pin = any(volume.wants.pin for volume in demand.volumes)
    return Choice(
        {name: Wanted(demand.revision, bringer, round_.chosen[name], pin) for name in sorted(round_.chosen)},
        len(round_.chosen) + round_.missing,
        "; ".join(list(round_.lacking)[:_SAID]),
    )


def _nobody(demand: Demand) -> Choice:
    asked = [volume.wants.replicas for volume in demand.volumes if volume.wants.replicas]
    if not asked and demand.placement is not Placement.REQUIRE:
        return Choice()  # its pods bring it
    return Choice({}, max([count for count in asked if count != ALL] or [1]), lacks.secret())
