"""Demand: everything that is asked of one Revision, by all its volumes and their pods."""

from dataclasses import dataclass

from csi_model.cluster.facts import Pod, Volume
from csi_model.core.placement import Placement

_STRICTEST = (Placement.REQUIRE, Placement.PREFER)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pod that no node was found for yet.

    Attributes:
        pod: that waits.
        revisions: all Revisions that its ``require`` volumes need; it can only go where all of them are staged.

    """

    pod: Pod
    revisions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of one Revision.

    Attributes:
        revision: Manifest digest.
        bytes: its size.
        volumes: all that are of this Revision.
        bound: names of the nodes on which a pod that mounts one of them is, or is about to start.
        waiting: pods that need it (and maybe others) before the scheduler can place them.

    """

    revision: str
    bytes: int
    volumes: tuple[Volume, ...]
    bound: frozenset[str] = frozenset()
    waiting: tuple[Waiting, ...] = ()

    @property
    def placement(self) -> Placement:
        """The strictest of its volumes'."""
        placements = {volume.placement for volume in self.volumes}
        return next((placement for placement in _STRICTEST if placement in placements), Placement.ANY)
