"""Index: what three watches have told of claims, StorageClasses and ModelVolumes, by claim."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any

from csi_model import DRIVER_NAME
from csi_model.cluster.facts import Volume
from csi_model.cluster.hostile import mapping, text_or_empty
from csi_model.cluster.trimming import KnownVolume
from csi_model.cluster.watching import Key

Json = dict[str, Any]
CLAIMS = "/api/v1/persistentvolumeclaims"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"


@dataclass(frozen=True, slots=True)
class KnownClaim:
    """A PersistentVolumeClaim.

    Attributes:
        uid: which one of that name.
        storage_class: its class; "" if it has none.

    """

    uid: str
    storage_class: str


def trim_claim(item: Json) -> KnownClaim | None:
    """Trim a PersistentVolumeClaim; None if it is damaged."""
    metadata = mapping(item, "metadata")
    uid = metadata.get("uid")
    name = mapping(metadata, "annotations").get(_OLD_CLASS) or mapping(item, "spec").get("storageClassName")
    return KnownClaim(uid, intern(str(text_or_empty(name)))) if isinstance(uid, str) else None


def trim_class(item: Json) -> bool | None:
    """Tell of a StorageClass of ours whether its claims are resolved at once, before any pod is; None of others."""
    if item.get("provisioner") != DRIVER_NAME:
        return None
    return item.get("volumeBindingMode") in (None, "Immediate")


class Index:
    """All of it, under one lock.

    Attributes:
        changed: the lock, and notified of news.
        told: how many of the watches have told all there is.
        claims: by namespace and name.
        classes: those of ours, and whether their claims are resolved at once; None until told.
        volumes: by the ModelVolume's name.
        by_claim: likewise, by claim.

    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.told = 0
        self.claims: dict[Key, KnownClaim] = {}
        self.classes: dict[str, bool] | None = None
        self.volumes: dict[str, Volume] = {}
        self.by_claim: dict[Key, dict[str, Volume]] = defaultdict(dict)
        self._awaited: Counter[Key] = Counter()  # claims that somebody waits for, so that other news wake nobody

    def wait(self, keys: Iterable[Key], patience: float) -> None:
        """Wait until no more is to be expected of these claims, for so many seconds at most; the lock is held."""
        self._awaited.update(keys)
        try:
            self.changed.wait_for(lambda: not self.expected(keys), patience)
        finally:
            self._awaited.subtract(keys)
            self._awaited = +self._awaited

    def tell(self, key: Key) -> None:
        """Wake those who wait for a claim of which there is news; the lock is held."""
        if key in self._awaited:
            self.changed.notify_all()

    def of(self, key: Key) -> list[Volume]:
        """Return the models of a claim; none of another one of that name, who may have left his behind."""
        claim = self.claims.get(key)
        if claim is None:
            return []
        volumes = self.by_claim.get(key, {}).values()
        return [it for it in volumes if it.claim is not None and it.claim.uid in (None, claim.uid)]

    def expected(self, keys: Iterable[Key]) -> bool:
        """Tell whether more is to be known in a moment: a claim that wasn't seen yet, or one that is being resolved."""
        return any(self._expected(key) for key in keys)

    def _expected(self, key: Key) -> bool:
        claim = self.claims.get(key)
        if claim is None or self.classes is None:
            return True
        return self.classes.get(claim.storage_class, False) and not self.of(key)


class ClaimsListener:
    """Hears of PersistentVolumeClaims."""

    def __init__(self, index: Index) -> None:
        self._index, self._told = index, False

    def replaced(self, objects: Mapping[Key, KnownClaim]) -> None:
        index = self._index
        with index.changed:
            index.claims = dict(objects)
            index.told += not self._told
            self._told = True
            index.changed.notify_all()

    def changed(self, key: Key, value: KnownClaim | None) -> None:
        index = self._index
        with index.changed:
            if index.claims.get(key) == value:
                return
            if value is None:
                del index.claims[key]
            else:
                index.claims[key] = value
            index.tell(key)


class ClassesListener:
    """Hears of the driver's StorageClasses."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def replaced(self, objects: Mapping[Key, bool]) -> None:
        index = self._index
        with index.changed:
            index.told += index.classes is None
            index.classes = {name: immediate for (_, name), immediate in objects.items()}
            index.changed.notify_all()

    def changed(self, key: Key, value: bool | None) -> None:  # noqa: FBT001 - it is what the watch keeps of a class
        index = self._index
        with index.changed:
            classes = dict(index.classes or {})
            classes.pop(key[1], None)
            index.classes = classes if value is None else {**classes, key[1]: value}
            index.changed.notify_all()


class VolumesListener:
    """Hears of ModelVolumes."""

    def __init__(self, index: Index) -> None:
        self._index, self._told = index, False

    def replaced(self, objects: Mapping[Key, KnownVolume]) -> None:
        index = self._index
        with index.changed:
            index.volumes.clear()
            index.by_claim.clear()
            for known in objects.values():
                self._keep(known.facts)
            index.told += not self._told
            self._told = True
            index.changed.notify_all()

    def changed(self, key: Key, value: KnownVolume | None) -> None:
        index = self._index
        with index.changed:
            old, new = index.volumes.get(key[1]), value.facts if value is not None else None
            if old == new:
                return
            if old is not None:
                self._drop(old)
            if new is not None:
                self._keep(new)

    def _keep(self, volume: Volume) -> None:
        self._index.volumes[volume.name] = volume
        if volume.claim is not None:
            key = (volume.claim.namespace, volume.claim.name)
            self._index.by_claim[key][volume.name] = volume
            self._index.tell(key)

    def _drop(self, volume: Volume) -> None:
        del self._index.volumes[volume.name]
        if volume.claim is None:
            return
        key = (volume.claim.namespace, volume.claim.name)
        self._index.by_claim[key].pop(volume.name, None)
        if not self._index.by_claim[key]:
            del self._index.by_claim[key]
