"""Choosing: the rules of ``wanting``, carried out over the facts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from csi_model.cluster.facts import Node, Pod, Volume
from csi_model.cluster.steering import lacks
from csi_model.cluster.steering.demand import Demand
from csi_model.cluster.steering.fitting import named, usable
from csi_model.cluster.steering.ranking import Group, Supposed, best_for, effort, fresh, known, staged
from csi_model.core.placement import ALL, Placement


class Ground:
    """What all rounds of one choice have in common."""

    def __init__(
        self, demand: Demand, nodes: Mapping[str, Node], sizes: Mapping[str, int], allowed: Mapping[str, int]
    ) -> None:
        self.demand, self.nodes, self.sizes, self.allowed = demand, nodes, sizes, allowed
        self.alive = [node for node in nodes.values() if node.alive and node.report is not None]
        self._speaking = {node.name: node for node in self.alive}
        self.open = [node for node in self.alive if node.schedulable]
        self.volumes = [volume for volume in demand.volumes if volume.warmable]
        self.groups = self._groups()
        self._matching: dict[tuple[tuple[str, str], ...], list[Node]] = {}

    def matching(self, volume: Volume) -> list[Node]:
        """Return the nodes on which a volume's replicas may be counted."""
        selector = volume.wants.node_selector
        if selector not in self._matching:
            self._matching[selector] = [node for node in self.open if volume.wants.matches(node.labels)]
        return self._matching[selector]

    def _groups(self) -> dict[Group, list[tuple[Pod, list[Node]]]]:
        """Return the kinds of waiting pods, by the Revisions they need together, with the nodes that each could use."""
        found: dict[Group, dict[object, tuple[Pod, list[Node]]]] = {}
        for waiting in sorted(self.demand.waiting, key=lambda it: (it.pod.created, it.pod.namespace, it.pod.name)):
            pod, group = waiting.pod, tuple(sorted({*waiting.revisions, self.demand.revision}))
            kind = (pod.namespace, tuple(sorted(pod.selector.items())), pod.affinity, pod.tolerations)
            kinds = found.setdefault(group, {})
            if kind not in kinds:
                kinds[kind] = pod, self._usable(pod)
        return {group: list(found[group].values()) for group in sorted(found)}

    def _usable(self, pod: Pod) -> list[Node]:
        names = named(pod)
        nodes = (
            self.alive if names is None else [self._speaking[name] for name in sorted(names) if name in self._speaking]
        )
        return [node for node in nodes if usable(pod, node)]


class Round:
    """One go through the rules, supposing that something is wanted already; a choice is what it supposes itself."""

    def __init__(self, ground: Ground, supposed: Supposed, payers: Mapping[str, str]) -> None:
        self._ground, self.supposed = ground, supposed
        self.chosen: dict[str, bool] = {}  # whether urgently
        self.placed: dict[Group, frozenset[str]] = {}
        self.missing = 0
        self.lacking: dict[str, None] = {}
        self.payers: dict[str, str] = {}  # by node that gets a copy anew: the namespace whose quota pays
        self._paid = payers  # those that are supposed
        self._spent = Counter(payers.values())  # copies
        self._had: dict[tuple[tuple[str, str], ...], int] = {}  # by selector: the most replicas that a volume got
        self._bind()
        for group, kinds in ground.groups.items():
            self._place(group, kinds)
        for volume in sorted(ground.volumes, key=self._turn):
            if volume.wants.replicas:
                self._stage_ahead(volume)
        self._somewhere()
        if any(volume.wants.replicas and not volume.warmable for volume in ground.demand.volumes):
            self._lack(1, lacks.secret())

    def _turn(self, volume: Volume) -> tuple[bool, int, int, str]:
        """Those first that have the least choice: others can use the same nodes."""
        count = volume.wants.replicas
        return count != ALL, len(self._ground.matching(volume)), -count, volume.name

    def _bind(self) -> None:
        for name in sorted(self._ground.demand.bound & self._ground.nodes.keys()):
            node = self._ground.nodes[name]
            if not staged(node if node.alive else replace(node, alive=True), self.supposed.revision):  # as it said last
                self.chosen[name] = True

    def _place(self, group: Group, kinds: list[tuple[Pod, list[Node]]]) -> None:
        serves = Counter(node.name for _, nodes in kinds for node in nodes)
        placed = set()
        for pod, nodes in kinds:
            node = best_for(group, nodes, serves, self._ground.sizes, self.supposed)
            if node is None:
                size = sum(self._ground.sizes.get(revision, 0) for revision in group)
                self._lack(1, lacks.no_node_for(pod, self.supposed.revision, size, nodes, self._ground.sizes))
            elif self._take(node, pod.namespace, urgent=not staged(node, self.supposed.revision)):
                placed.add(node.name)
        self.placed[group] = frozenset(placed)

    def _stage_ahead(self, volume: Volume) -> None:
        ground, matching = self._ground, self._ground.matching(volume)
        cordoned = [node for node in ground.alive if not node.schedulable and volume.wants.matches(node.labels)
                    and staged(node, volume.revision)]  # fmt: skip
        count = len(matching) if volume.wants.replicas == ALL else volume.wants.replicas
        selector = volume.wants.node_selector
        if volume.wants.replicas != ALL and count <= self._had.get(selector, 0):
            return
        have = self._take_some(matching, count, volume)
        self._had[selector] = have
        if volume.wants.replicas == ALL:
            self._take_some(cordoned, len(cordoned), volume)
        elif have < count:
            have += self._take_some(cordoned, count - have, volume)
        if have == count:
            return
        without = [
            node for node in matching
            if node.name not in self.chosen and self._effort(node) is None
        ]  # fmt: skip
        if len(matching) < count:
            like = [node for node in ground.nodes.values() if volume.wants.matches(node.labels)]
            others = [node for node in like if not (node.alive and node.report is not None and node.schedulable)]
            self._lack(count - have, lacks.too_few(volume, matching, others))
        if without:
            self._lack(count - have, lacks.no_room(volume, matching, without, ground.sizes))
        self.missing = max(self.missing, count - have)

    def _take_some(self, nodes: list[Node], count: int, volume: Volume) -> int:
        """Take the best of these nodes; return how many."""
        have = 0
        namespace = volume.claim.namespace if volume.claim is not None else ""
        for ranked in (known, fresh):
            for node in ranked(nodes, self.chosen, self._ground.sizes, self.supposed) if have < count else ():
                have += self._take(node, namespace)
                if have == count:
                    break
        return have

    def _somewhere(self) -> None:
        strict = [volume for volume in self._ground.volumes if volume.placement is Placement.REQUIRE]
        if not strict:
            return
        open_ = self._ground.open
        having = [node for node in open_ if staged(node, self.supposed.revision)]
        if any(node.name in self.chosen for node in having or open_):
            return
        if having:
            self._take(known(having, self.chosen, self._ground.sizes, self.supposed)[0], "")
            return
        fitting = [node for node in open_ if any(volume.wants.matches(node.labels) for volume in strict)]
        for volume in sorted(strict, key=lambda it: (it.created, it.name)):
            if any(self._take_some(nodes, 1, volume) for nodes in (fitting, open_)):
                return
        if not any(self._effort(node) is not None for node in open_):
            self._lack(1, lacks.no_node_at_all(self.supposed.revision, open_, self._ground.sizes))

    def _take(self, node: Node, namespace: str, *, urgent: bool = False) -> bool:
        """Choose a node on behalf of a namespace; False, and a word about it, if its quota forbids."""
        demand, name = self._ground.demand, node.name
        if name in self.chosen or demand.revision in node.wants or node.begun(demand.revision):
            self.chosen[name] = urgent or self.chosen.get(name, False)
            return True
        allowed = self._ground.allowed.get(namespace)
        if allowed is not None and name not in self._paid:
            left = allowed - self._spent[namespace] * demand.bytes
            if left < demand.bytes:
                self._lack(1, lacks.over_quota(namespace, demand.bytes, max(0, left)))
                return False
            self._spent[namespace] += 1
        self.payers[name] = self._paid.get(name, namespace)
        self.chosen[name] = urgent
        return True

    def _effort(self, node: Node) -> int | None:
        wanted = node.name in self.supposed.nodes
        return effort(node, self._ground.sizes, (self.supposed.revision,), wanted=wanted)

    def _lack(self, count: int, why: str) -> None:
        self.missing = max(self.missing, count)
        self.lacking[why] = None
