"""Seen: what the two watches have told of PersistentVolumes and ModelVolumes, and which PVs that concerns."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from csi_model.cluster.model_volume import name_of
from csi_model.cluster.persistent_volumes import Known, PersistentVolume
from csi_model.cluster.watching import Key


class Seen:
    """All of it, by name. Safe to use from many threads.

    Args:
        due: called with the name of each PersistentVolume that has to be looked at.

    Attributes:
        volumes: listens to the watch of PersistentVolumes.
        records: listens to the watch of ModelVolumes.

    """

    def __init__(self, due: Callable[[str], None]) -> None:
        self._index = _Index()
        self.volumes = VolumesListener(self._index, due)
        self.records = RecordsListener(self._index, due)

    def volume(self, name: str) -> PersistentVolume | None:
        """Return a PersistentVolume."""
        with self._index.lock:
            return self._index.volumes.get(name)

    def record(self, volume_id: str) -> Known | None:
        """Return the ModelVolume of a volume."""
        with self._index.lock:
            return self._index.records.get(name_of(volume_id))

    def made_from(self, name: str) -> list[Known]:
        """Return the ModelVolumes that were made from a PersistentVolume."""
        with self._index.lock:
            return [self._index.records[record] for record in self._index.made.get(name, ())]


@dataclass
class _Index:
    lock: threading.Lock = field(default_factory=threading.Lock)
    volumes: dict[str, PersistentVolume] = field(default_factory=dict)
    records: dict[str, Known] = field(default_factory=dict)  # by the ModelVolume's name
    wanting: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # ModelVolume → PVs with its handle
    made: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # PV → ModelVolumes made from it


class VolumesListener:
    """Hears of PersistentVolumes."""

    def __init__(self, index: _Index, due: Callable[[str], None]) -> None:
        self._index, self._due = index, due

    def replaced(self, objects: Mapping[Key, PersistentVolume]) -> None:
        now = {name: volume for (_, name), volume in objects.items()}
        with self._index.lock:
            names = {*self._index.volumes, *now}
            for name in names:
                self._set(name, now.get(name))
        _tell(self._due, names)

    def changed(self, key: Key, value: PersistentVolume | None) -> None:
        name = key[1]
        with self._index.lock:
            if self._index.volumes.get(name) == value:
                return
            self._set(name, value)
        self._due(name)

    def _set(self, name: str, value: PersistentVolume | None) -> None:
        old = self._index.volumes.pop(name, None)
        if old is not None:
            _drop(self._index.wanting, name_of(old.handle), name)
        if value is not None:
            self._index.volumes[name] = value
            self._index.wanting[name_of(value.handle)].add(name)


class RecordsListener:
    """Hears of ModelVolumes."""

    def __init__(self, index: _Index, due: Callable[[str], None]) -> None:
        self._index, self._due = index, due

    def replaced(self, objects: Mapping[Key, Known]) -> None:
        now = {name: known for (_, name), known in objects.items()}
        with self._index.lock:
            for name in {*self._index.records, *now}:
                self._set(name, now.get(name))
            names = {*self._index.volumes, *self._index.made}
        _tell(self._due, names)

    def changed(self, key: Key, value: Known | None) -> None:
        name = key[1]
        with self._index.lock:
            if self._index.records.get(name) == value:
                return
            self._set(name, value)
            names = set(self._index.wanting.get(name, ()))
            if value is not None and value.persistent_volume is not None:
                names.add(value.persistent_volume)
        _tell(self._due, names)

    def _set(self, name: str, value: Known | None) -> None:
        old = self._index.records.pop(name, None)
        if old is not None and old.persistent_volume is not None:
            _drop(self._index.made, old.persistent_volume, name)
        if value is not None:
            self._index.records[name] = value
            if value.persistent_volume is not None:
                self._index.made[value.persistent_volume].add(name)


def _drop(sets: dict[str, set[str]], key: str, value: str) -> None:
    members = sets.get(key, set())
    members.discard(value)
    if not members:
        sets.pop(key, None)


def _tell(due: Callable[[str], None], names: Iterable[str]) -> None:
    for name in names:
        due(name)
