"""The nodes' agents, simulated: each reports its copies and its heartbeat, and does what its ModelNode tells it."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from bench.scale import objects
from bench.scale.client import Client, Json
from bench.scale.timetable import Timetable
from bench.scale.world import GIB, Model, World
from csi_model.cluster import model_node
from csi_model.core.copies import Copy, NodeReport
from csi_model.core.placement import label_of
from csi_model.core.warmth import Warmth

DISK = 3500 * GIB
COALESCED = 0.05  # seconds that an agent gathers changes before it reports them
_VERSION = "0.1.0"


@dataclass(slots=True)
class _Agent:
    name: str
    copies: dict[str, Copy]
    generation: int = 0
    wanted: dict[str, float] = field(default_factory=dict)
    """By revision, when the order came (monotonic clock)."""
    speaking: threading.Lock = field(default_factory=threading.Lock)
    """Its reports are made and sent one after the other."""


class Agents:
    """All nodes' agents.

    Args:
        admin: the API.
        world: what is staged where.
        timetable: does what is due.

    """

    def __init__(self, admin: Client, world: World, timetable: Timetable) -> None:
        self._admin, self._timetable, self._sizes = admin, timetable, world.sizes
        self._models = {model.revision: model for model in world.models}
        self._lock = threading.Lock()
        self._agents = {
            name: _Agent(name, {copy.revision: copy for copy in map(_staged, (world.models[i] for i in numbers))})
            for name, numbers in world.copies.items()
        }
        self.accepted: dict[tuple[str, str], float] = {}
        """By node and label, when the API server had taken the report of a staged copy (monotonic clock)."""

    def tell(self, kind: str, item: Json) -> None:
        """Take in what a ModelNode says; the first word of it makes its agent speak."""
        name, generation = item["metadata"]["name"], item["metadata"].get("generation", 0)
        with self._lock:
            agent = self._agents.get(name)
            if kind == "DELETED" or agent is None or generation <= agent.generation:
                return
            new, agent.generation = agent.generation == 0, generation
            orders = model_node.parse_orders(item)
            known = agent.wanted
            now = time.monotonic()
            agent.wanted = {wanted.revision: known.get(wanted.revision, now) for wanted in orders.wanted}
            missing = [revision for revision in agent.wanted if revision not in agent.copies]
        if new:
            self._timetable.soon(lambda: self._report(name))
        for revision in missing:
            self.stage(name, revision, now + self._sizes.warming)

    def live(self) -> None:
        """Begin with heartbeats and kubelets' reports, evenly spread."""
        begun, number = time.monotonic(), len(self._agents)
        for i, name in enumerate(self._agents):
            self._again(begun + i * self._sizes.heartbeat / number, self._sizes.heartbeat, self._beat, name)
            self._again(begun + i * self._sizes.kubelet / number, self._sizes.kubelet, self._kubelet, name)

    def stage(self, node: str, revision: str, committed: float) -> None:
        """Have a copy brought: reported as warming now, as staged after its last byte is committed.

        Args:
            node: where.
            revision: that isn't there.
            committed: when its last byte is committed (monotonic clock).

        """
        model = self._models[revision]
        with self._lock:
            warm = replace(_staged(model), warmth=Warmth.WARMING, present=model.manifest.size // 2, rate=1e9)
            self._agents[node].copies.setdefault(revision, warm)
        self._timetable.soon(lambda: self._report(node))
        self._timetable.at(committed + COALESCED, lambda: self._commit(node, model))

    def lacks(self, node: str, revision: str) -> bool:
        """Say whether a node has nothing of a revision."""
        with self._lock:
            return revision not in self._agents[node].copies

    def orders(self, revision: str) -> dict[str, float]:
        """Return by node when it was told to have a revision (monotonic clock)."""
        with self._lock:
            return {a.name: a.wanted[revision] for a in self._agents.values() if revision in a.wanted}

    def busy(self) -> int:
        """Count the copies that are being brought."""
        with self._lock:
            return sum(
                copy.warmth is Warmth.WARMING for agent in self._agents.values() for copy in agent.copies.values()
            )

    def labels(self) -> dict[str, dict[str, str]]:
        """Return the labels that tell the truth about every node now."""
        steered = {revision for revision, model in self._models.items() if model.steered}
        with self._lock:
            return {
                agent.name: {label_of(r): str(copy.warmth) for r, copy in agent.copies.items() if r in steered}
                for agent in self._agents.values()
            }

    def _commit(self, node: str, model: Model) -> None:
        with self._lock:
            self._agents[node].copies[model.revision] = _staged(model)
        self._report(node)
        self.accepted[node, label_of(model.revision)] = time.monotonic()

    def _report(self, name: str) -> None:
        agent = self._agents[name]
        with agent.speaking:
            with self._lock:
                report, generation = _report_of(agent.copies), agent.generation
            status = model_node.render_status(report, generation=generation, now=time.time(), version=_VERSION)
            self._admin.patch(f"{model_node.PATH}/{name}/status", {"status": status})

    def _beat(self, name: str) -> None:
        if self._agents[name].generation:  # else it has no ModelNode yet
            now = objects.now(fractions=True)
            self._admin.patch(f"{model_node.PATH}/{name}/status", {"status": {"heartbeat": now}})

    def _kubelet(self, name: str) -> None:
        self._admin.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": objects.conditions()}})

    def _again(self, due: float, every: float, do: Callable[[str], None], name: str) -> None:
        def act() -> None:
            self._again(due + every, every, do, name)
            do(name)

        self._timetable.at(due, act)


def _staged(model: Model) -> Copy:
    size = model.manifest.size
    return Copy(model.revision, Warmth.STAGED, size, present=size, held=True)


def _report_of(copies: Mapping[str, Copy]) -> NodeReport:
    ordered = tuple(sorted(copies.values(), key=lambda copy: copy.revision))
    used = sum(copy.present for copy in ordered)
    return NodeReport(DISK, used, max(0, DISK * 9 // 10 - used), 0, ordered)
