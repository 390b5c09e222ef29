"""Using: which pods use which volumes, by their claims."""

from collections.abc import Iterable, Iterator

from csi_model.cluster.facts import Pod, Volume
from csi_model.cluster.steering.index import Index
from csi_model.cluster.watching import Key
from csi_model.core.placement import Placement

Claimed = tuple[str, str]  # namespace and name of a claim


class Using:
    """Pods and volumes, indexed by claim and node. For one thread."""

    def __init__(self) -> None:
        self.volumes: dict[str, Volume] = {}
        self.pods: dict[Key, Pod] = {}
        self._of_revision: Index[str, str] = Index()  # names of volumes
        self._of_claim: Index[Claimed, str] = Index()  # names of volumes
        self._mounting: Index[Claimed, Key] = Index()  # pods
        self._on: Index[str, Key] = Index()  # pods by node
        self._several: set[Key] = set()  # pods that mount more than one claim

    @property
    def revisions(self) -> Iterable[str]:
        """Those that have a volume."""
        return self._of_revision

    def set_volume(self, name: str, volume: Volume | None) -> None:
        """Know a volume, or forget it."""
        old = self.volumes.pop(name, None)
        if old is not None:
            self._of_revision.drop(old.revision, name)
            if old.claim is not None:
                self._of_claim.drop((old.claim.namespace, old.claim.name), name)
        if volume is not None:
            self.volumes[name] = volume
            self._of_revision.add(volume.revision, name)
            if volume.claim is not None:
                self._of_claim.add((volume.claim.namespace, volume.claim.name), name)

    def set_pod(self, key: Key, pod: Pod | None) -> None:
        """Know a pod, or forget it."""
        old = self.pods.pop(key, None)
        self._several.discard(key)
        if old is not None:
            self._on.drop(old.node, key)
            for claim in old.claims:
                self._mounting.drop((old.namespace, claim), key)
        if pod is not None:
            self.pods[key] = pod
            self._on.add(pod.node, key)
            if len(pod.claims) > 1:
                self._several.add(key)
            for claim in pod.claims:
                self._mounting.add((pod.namespace, claim), key)

    def volumes_of(self, revision: str) -> tuple[Volume, ...]:
        """Return the volumes of a revision, by name."""
        return tuple(self.volumes[name] for name in sorted(self._of_revision[revision]))

    def mounted_by(self, pod: Pod) -> tuple[Volume, ...]:
        """Return the volumes that a pod mounts; of two with a claim of one name the newer one counts."""
        return tuple(filter(None, (self._current((pod.namespace, claim)) for claim in pod.claims)))

    def pods_of(self, volume: Volume) -> Iterator[Pod]:
        """Yield the pods that mount a volume."""
        if volume.claim is None:
            return
        claim = (volume.claim.namespace, volume.claim.name)
        if self._current(claim) is volume:
            yield from (self.pods[key] for key in self._mounting[claim])

    def pods_with(self, namespace: str, claim: str) -> Iterator[Pod]:
        """Yield the pods that mount a claim."""
        yield from (self.pods[key] for key in self._mounting[(namespace, claim)])

    def pods_with_several(self) -> Iterator[Pod]:
        """Yield the pods that mount more than one claim."""
        yield from (self.pods[key] for key in self._several)

    def pods_on(self, node: str) -> Iterator[Pod]:
        """Yield the pods that are bound to a node; "" for those that wait."""
        yield from (self.pods[key] for key in self._on[node])

    def needed_on(self, node: str) -> set[str]:
        """Return the revisions that pods bound to a node use, or may use: of two volumes with one claim both count."""
        claims = ((pod.namespace, claim) for pod in self.pods_on(node) for claim in pod.claims)
        return {self.volumes[name].revision for claim in claims for name in self._of_claim[claim]}

    def required_by(self, pod: Pod) -> tuple[str, ...]:
        """Return the revisions without which a pod can't be scheduled, sorted."""
        strict = {volume.revision for volume in self.mounted_by(pod) if volume.placement is Placement.REQUIRE}
        return tuple(sorted(strict))

    def _current(self, claim: Claimed) -> Volume | None:
        found = [self.volumes[name] for name in self._of_claim[claim]]
        return max(found, key=lambda volume: (volume.created, volume.name), default=None)
