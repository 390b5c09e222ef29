"""Dirty: what has to be looked at again."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Dirty:
    """Names of things about which there is news.

    Attributes:
        nodes: whose labels, guards or orders may be due.
        ordered: nodes for which something was decided; whose labels aren't concerned.
        revisions: for which nodes may have to be chosen anew.
        standings: revisions of which people may have to be told something.
        joined: nodes that came or went, or are others now: who lacks some, or wants all of a kind, looks again.
        roomier: whether a node has more room than before: who lacks some looks again, some time soon.

    """

    nodes: set[str] = field(default_factory=set)
    ordered: set[str] = field(default_factory=set)
    revisions: set[str] = field(default_factory=set)
    standings: set[str] = field(default_factory=set)
    joined: set[str] = field(default_factory=set)
    roomier: bool = False

    def clear(self) -> None:
        """Forget it all."""
        for names in (self.nodes, self.ordered, self.revisions, self.standings, self.joined):
            names.clear()
        self.roomier = False
