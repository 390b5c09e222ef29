"""Choices: on which nodes each revision is wanted, kept up to date one revision at a time."""

from collections.abc import Mapping

from csi_model.cluster.facts import Pod, Volume
from csi_model.cluster.model_node import MAX_WANTED
from csi_model.cluster.steering.demand import Demand, Waiting
from csi_model.cluster.steering.inventory import Inventory
from csi_model.cluster.steering.quotas import allowed
from csi_model.cluster.steering.wanting import Choice, choose
from csi_model.core.copies import Wanted
from csi_model.core.placement import ALL


class Choices:
    """For one thread.

    Args:
        inventory: what is known; it is told what is decided.
        quotas: bytes by namespace.

    Attributes:
        made: the last choice for each revision that has a volume.

    """

    def __init__(self, inventory: Inventory, quotas: Mapping[str, int]) -> None:
        self._inventory, self._quotas = inventory, quotas
        self.made: dict[str, Choice] = {}
        self._hopeful: set[str] = set()  # revisions that more nodes, or more room, would help

    def clear(self) -> None:
        """Forget everything: somebody else decides."""
        self.made.clear()
        self._hopeful.clear()

    def hopeful(self) -> set[str]:
        """Return the revisions that lack nodes, or for which pods wait."""
        return set(self._hopeful)

    def of_all(self, nodes: set[str]) -> set[str]:
        """Return the revisions that are wanted on every node of a kind to which one of these nodes may belong."""
        labels = [node.labels for name in nodes if (node := self._inventory.nodes.get(name)) is not None]
        return {
            volume.revision
            for volume in self._inventory.using.volumes.values()
            if volume.wants.replicas == ALL and any(map(volume.wants.matches, labels))
        }

    def settle(self, revision: str) -> None:
        """Choose for one revision, and order what is chosen."""
        demand = self._demand(revision)
        wanted: Mapping[str, Wanted] = {}
        if demand is None:
            self.made.pop(revision, None)
            self._hopeful.discard(revision)
        else:
            choice = choose(demand, self._inventory.nodes, self._inventory.sizes, self._allowed())
            self.made[revision] = choice
            wanted = choice.wanted
            (self._hopeful.add if choice.lacking or demand.waiting else self._hopeful.discard)(revision)
        self._order(revision, wanted)
        self._inventory.dirty.standings.add(revision)

    def _order(self, revision: str, wanted: Mapping[str, Wanted]) -> None:
        for name in {*self._inventory.holders(revision), *wanted}:
            node = self._inventory.nodes.get(name)
            if node is None:
                continue
            due = wanted.get(name)
            if node.wants.get(revision) == due:
                continue
            others = [it for it in node.wanted if it.revision != revision]
            all_of_it = sorted([*others, due] if due else others, key=lambda it: (not it.urgent, it.revision))
            self._inventory.order(name, all_of_it[:MAX_WANTED], node.guarded)
            self._inventory.dirty.ordered.add(name)

    def _allowed(self) -> Mapping[str, int]:
        if not self._quotas:
            return {}
        return allowed(self._quotas, tuple(self._inventory.using.volumes.values()), self._inventory.nodes)

    def _demand(self, revision: str) -> Demand | None:
        using = self._inventory.using
        volumes = using.volumes_of(revision)
        if not volumes:
            return None
        bound: set[str] = set()
        waiting: dict[object, Waiting] = {}
        for volume in volumes:
            for pod in using.pods_of(volume):
                if pod.node:
                    bound.add(pod.node)
                else:
                    self._note(pod, volume, waiting)
        return Demand(revision, volumes[0].bytes, volumes, frozenset(bound), tuple(waiting.values()))

    def _note(self, pod: Pod, volume: Volume, waiting: dict[object, Waiting]) -> None:
        """Note a pod that waits; of those that are alike, the oldest stands for all."""
        required = self._inventory.using.required_by(pod)
        if volume.revision not in required:
            return
        alike = (required, tuple(sorted(pod.selector.items())), pod.affinity, pod.tolerations, pod.gated)
        other = waiting.get(alike)
        if other is None or (pod.created, pod.uid) < (other.pod.created, other.pod.uid):
            waiting[alike] = Waiting(pod, required)
