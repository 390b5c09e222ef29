"""Figures: what metrics tell of steering."""

from collections.abc import Mapping
from dataclasses import dataclass

from csi_model.cluster.steering.choices import Choices
from csi_model.cluster.steering.inventory import Inventory
from csi_model.cluster.steering.writes import Writes
from csi_model.core.warmth import Warmth


@dataclass(frozen=True, slots=True)
class Figures:
    """At one instant.

    Attributes:
        leads: whether this controller writes.
        wanted: copies that nodes are told to have.
        staged: those of them that are there.
        lacking: revisions that want more nodes than can be had.
        waiting: changes that wait to be written.
        written: changes that were written, by kind.

    """

    leads: bool
    wanted: int
    staged: int
    lacking: int
    waiting: int
    written: Mapping[str, int]

    @classmethod
    def of(cls, leads: bool, choices: Choices, inventory: Inventory, writes: Writes) -> "Figures":  # noqa: FBT001
        """Count; from any thread."""
        made, nodes = dict(choices.made), dict(inventory.nodes)
        wanted = [(revision, name) for revision, choice in made.items() for name in choice.wanted]
        copies = [nodes[name].copy(revision) for revision, name in wanted if name in nodes]
        return cls(
            leads=leads,
            wanted=len(wanted),
            staged=sum(copy is not None and copy.warmth is Warmth.STAGED for copy in copies),
            lacking=sum(bool(choice.lacking) for choice in made.values()),
            waiting=writes.waiting,
            written=writes.counts(),
        )
