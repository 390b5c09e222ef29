"""Inventory: all that the watches have told, indexed so that a piece of news costs what it concerns.

It belongs to one thread (the loop's), which applies the news and then looks at :attr:`Inventory.dirty`. Heartbeats,
and changes of what nobody decides by, are compared and dropped.
"""

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from csi_model.cluster.facts import Guarded, Node, Pod
from csi_model.cluster.model_node import ModelNode
from csi_model.cluster.steering.changes import concerned, mark
from csi_model.cluster.steering.dirty import Dirty
from csi_model.cluster.steering.inbox import Kind, News
from csi_model.cluster.steering.index import Index
from csi_model.cluster.steering.using import Using
from csi_model.cluster.trimming import KnownNode, KnownVolume
from csi_model.cluster.watching import Key
from csi_model.core.copies import Wanted
from csi_model.core.placement import Placement

Json = dict[str, object]
_STRICTNESS = (Placement.ANY, Placement.PREFER, Placement.REQUIRE)


@dataclass(frozen=True, slots=True)
class Ordered:
    """What a node is to be told, whether or not its ModelNode says so yet."""

    wanted: tuple[Wanted, ...]
    guarded: Mapping[str, Guarded]


class Inventory:
    """What is known of the cluster.

    Args:
        silent_after: seconds without a word after which a node isn't alive.

    Attributes:
        using: pods and volumes.
        nodes: by name; those that have a Node object.
        sizes: bytes of each revision that has a volume.
        steered: the strictest placement of each revision, where that isn't ``any``.
        required: revisions that have a volume with placement ``require``.
        dirty: what has to be looked at again; whoever looks clears it.

    """

    def __init__(self, *, silent_after: float) -> None:
        self._silent_after = silent_after
        self.using = Using()
        self.nodes: dict[str, Node] = {}
        self.sizes: dict[str, int] = {}
        self.steered: dict[str, Placement] = {}
        self.required: set[str] = set()
        self.dirty = Dirty()
        self._statuses: dict[str, Json] = {}  # of ModelVolumes, as they are
        self._known: dict[str, KnownNode] = {}
        self._models: dict[str, ModelNode] = {}
        self._ordered: dict[str, Ordered] = {}
        self._heard: dict[str, float] = {}  # when a node's word was seen last
        self._silent: set[str] = set()
        self._holders: Index[str, str] = Index()  # nodes that have something of a revision, or are told to
        self._told: set[Kind] = set()

    @property
    def synced(self) -> bool:
        """Whether every kind has been listed."""
        return len(self._told) == len(Kind)

    def apply(self, news: Iterable[News]) -> None:
        """Take in what was told."""
        for piece in news:
            if piece.key is not None:
                self._set(piece.kind, piece.key, piece.value, piece.at)
                continue
            self._told.add(piece.kind)
            for key in {*self._keys(piece.kind), *piece.value}:
                self._set(piece.kind, key, piece.value.get(key), piece.at)

    def listen(self, now: float, *, deaf: bool = False) -> None:
        """Find the nodes that have been silent for too long; while we are deaf, nobody's silence counts."""
        if deaf:
            self._heard = dict.fromkeys(self._heard, now)
        for name, heard in self._heard.items():
            if now - heard > self._silent_after and name not in self._silent:
                self._silent.add(name)
                self._renew(name)

    # what is asked of it

    def known(self, name: str) -> KnownNode | None:
        """Return what a Node says."""
        return self._known.get(name)

    def model(self, name: str) -> ModelNode | None:
        """Return what a ModelNode says."""
        return self._models.get(name)

    @property
    def names(self) -> set[str]:
        """All nodes that have a Node or a ModelNode."""
        return {*self._known, *self._models}

    def status(self, volume: str) -> Json:
        """Return the status of a ModelVolume as the API has it."""
        return self._statuses.get(volume, {})

    def holders(self, revision: str) -> AbstractSet[str]:
        """Return the nodes that have something of a revision, or are told to."""
        return self._holders[revision]

    @property
    def revisions(self) -> set[str]:
        """All that have a volume, or that a node is told to have."""
        return {*self.using.revisions, *self._wanted_somewhere()}

    def ordered(self, name: str) -> Ordered | None:
        """Return what a node is to be told; None if nothing was decided for it."""
        return self._ordered.get(name)

    # what is decided

    def order(self, name: str, wanted: Collection[Wanted], guarded: Mapping[str, Guarded]) -> None:
        """Note what a node is to be told: decisions count on it before the API has it."""
        self._ordered[name] = Ordered(tuple(wanted), guarded)
        old = self.nodes.get(name)
        if old is not None:
            self._keep(name, old, replace(old, wanted=tuple(wanted), guarded=guarded))

    def forget_orders(self) -> None:
        """Go by what the API says again."""
        names, self._ordered = list(self._ordered), {}
        for name in names:
            self._renew(name)

    # news

    def _keys(self, kind: Kind) -> list[Key]:
        if kind is Kind.PODS:
            return list(self.using.pods)
        names: dict[Kind, Iterable[str]] = {
            Kind.VOLUMES: self.using.volumes,
            Kind.NODES: self._known,
            Kind.MODEL_NODES: self._models,
        }
        return [("", name) for name in names[kind]]

    def _set(self, kind: Kind, key: Key, value: object, at: float) -> None:
        if kind is Kind.PODS:
            self._set_pod(key, value if isinstance(value, Pod) else None)
        elif kind is Kind.VOLUMES:
            self._set_volume(key[1], value if isinstance(value, KnownVolume) else None)
        elif kind is Kind.NODES:
            self._set_known(key[1], value if isinstance(value, KnownNode) else None)
        else:
            self._set_model(key[1], value if isinstance(value, ModelNode) else None, at)

    def _set_volume(self, name: str, known: KnownVolume | None) -> None:
        old, new = self.using.volumes.get(name), known.facts if known else None
        if known is None:
            self._statuses.pop(name, None)
        else:
            self._statuses[name] = known.status
        if old == new:
            return
        self.using.set_volume(name, new)
        for volume in filter(None, (old, new)):
            self._rate(volume.revision)
            self.dirty.revisions.add(volume.revision)
            self.dirty.nodes |= self._holders[volume.revision]
            if volume.claim is not None:
                for pod in self.using.pods_with(volume.claim.namespace, volume.claim.name):
                    self._concern(pod)

    def _rate(self, revision: str) -> None:
        """Find out what a revision is to its volumes now."""
        volumes = self.using.volumes_of(revision)
        strictest = max((volume.placement for volume in volumes), key=_STRICTNESS.index, default=Placement.ANY)
        self.steered.pop(revision, None)
        self.required.discard(revision)
        if strictest is not Placement.ANY:
            self.steered[revision] = strictest
        if strictest is Placement.REQUIRE:
            self.required.add(revision)
        if volumes:
            self.sizes[revision] = volumes[0].bytes
        else:
            self.sizes.pop(revision, None)

    def _set_pod(self, key: Key, pod: Pod | None) -> None:
        old = self.using.pods.get(key)
        if old == pod:
            return
        if old is not None:
            self._concern(old)
        self.using.set_pod(key, pod)
        if pod is not None:
            self._concern(pod)

    def _concern(self, pod: Pod) -> None:
        """Mark what a pod has to do with."""
        revisions = {volume.revision for volume in self.using.mounted_by(pod)}
        self.dirty.revisions |= revisions
        if revisions and pod.node:
            self.dirty.nodes.add(pod.node)

    def _set_known(self, name: str, known: KnownNode | None) -> None:
        old = self._known.pop(name, None)
        if old is not None and old == known:
            self._known[name] = replace(old, version=known.version)  # what is alike is kept once
            return
        if known is not None:
            self._known[name] = known
        else:
            self._ordered.pop(name, None)
        self.dirty.nodes.add(name)
        self._renew(name)

    def _set_model(self, name: str, model: ModelNode | None, at: float) -> None:
        old = self._models.pop(name, None)
        if model is None:
            self._heard.pop(name, None)
            self._silent.discard(name)
        else:
            self._models[name] = model
            if model.heartbeat is not None and (old is None or old.heartbeat != model.heartbeat):
                self._heard[name] = at
                if name in self._silent:
                    self._silent.discard(name)
                    old = None  # all of it is news
        if old is not None and model is not None:
            if old == replace(model, heartbeat=old.heartbeat):
                return
            if old.wanted == model.wanted and old.guarded == model.guarded and old.owner_uid == model.owner_uid:
                self._renew(name)
                return
        self.dirty.nodes.add(name)
        self._renew(name)

    def _renew(self, name: str) -> None:
        """Make the facts of a node anew, and mark what is different."""
        old, new = self.nodes.get(name), self._facts(name)
        self._keep(name, old, new)
        mark(self.dirty, name, old, new, self.required)

    def _facts(self, name: str) -> Node | None:
        known, model = self._known.get(name), self._models.get(name)
        if known is None:
            return None
        told: ModelNode | Ordered | None = self._ordered.get(name) or model
        return Node(
            name=known.name,
            labels=known.labels,
            schedulable=known.schedulable,
            taints=known.taints,
            alive=model is not None and name in self._heard and name not in self._silent,
            report=model.report if model else None,
            wanted=told.wanted if told else (),
            guarded=told.guarded if told else {},
        )

    def _keep(self, name: str, old: Node | None, new: Node | None) -> None:
        before, after = concerned(old), concerned(new)
        for revision in before - after:
            self._holders.drop(revision, name)
        for revision in after - before:
            self._holders.add(revision, name)
        if new is None:
            self.nodes.pop(name, None)
        else:
            self.nodes[name] = new

    def _wanted_somewhere(self) -> set[str]:
        return {each.revision for node in self.nodes.values() for each in node.wanted}
