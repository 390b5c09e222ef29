"""Adopting: every PersistentVolume of this driver gets its ModelVolume, also those that CreateVolume didn't make.

Two watches keep, in memory, the PersistentVolumes of this driver and the names of the ModelVolumes. Whatever changes
makes a PV due; a worker looks at it and does what :mod:`csi_model.cluster.persistent_volumes` decides. What the
watches say may be old, so before something is made or deleted the PV is read again. Every step may be done twice, so
several controllers may do it at once.
"""

import base64
import binascii
import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from csi_model.cluster import model_volume, persistent_volumes
from csi_model.cluster.api import METADATA, METADATA_LIST, Api, Json
from csi_model.cluster.attributes_classes import as_its_class_says
from csi_model.cluster.due import Due
from csi_model.cluster.errors import ApiAbsent, ApiUnavailable
from csi_model.cluster.events import Events, Subject
from csi_model.cluster.model_volumes import ModelVolumes
from csi_model.cluster.persistent_volumes import Action, Known, PersistentVolume, decide, is_orphan
from csi_model.cluster.seen import Seen
from csi_model.cluster.watching import Watch
from csi_model.core.fields import Auth
from csi_model.core.manifest import Manifest
from csi_model.core.templates import OBJECT_NAME
from csi_model.core.units import bytes_text
from csi_model.core.volume import Claim, VolumeSpec
from csi_model.errors import CsiModelError, InvalidArgument, SourceUnauthenticated, VolumeExists

log = logging.getLogger(__name__)
Resolve = Callable[[VolumeSpec, Mapping[str, str]], Manifest]
_VOLUMES = "/api/v1/persistentvolumes"
_WORKERS = 4
_GLANCE = 0.2  # seconds between two looks at whether to stop, until both watches have begun


class Allowance(Protocol):
    """Which sources static PVs may name (:class:`csi_model.core.allow.Allowed`)."""

    def check(self, spec: VolumeSpec, field: str) -> None:
        """Raise InvalidArgument unless the administrator allowed the source and its endpoint."""


class Adopting:
    """Makes and removes ModelVolumes by the PersistentVolumes there are.

    Args:
        api: the API.
        resolve: lists a source with the given secrets.
        allowed: what static PVs may name.
        events: tells people.
        workers: PVs looked at at once: resolving a source takes seconds.

    """

    def __init__(
        self, api: Api, *, resolve: Resolve, allowed: Allowance, events: Events, workers: int = _WORKERS
    ) -> None:
        self._api, self._resolve, self._allowed, self._events = api, resolve, allowed, events
        self._registry = ModelVolumes(api)
        self._due, self._stopped = Due(), threading.Event()
        self._seen = Seen(self._due.add)
        self._claims: dict[str, tuple[str, Claim | None]] = {}  # by PV: volume id and claim as they were written last
        self._watches: tuple[Watch[PersistentVolume], Watch[Known]] = (
            Watch(api, _VOLUMES, persistent_volumes.trim, self._seen.volumes),
            Watch(
                api, model_volume.PATH, _known, self._seen.records, accept=METADATA, accept_list=METADATA_LIST
            ),
        )  # fmt: skip
        self._workers = [threading.Thread(target=self._work, name=f"adopting {n}", daemon=True) for n in range(workers)]

    def start(self) -> None:
        """Begin."""
        for watch in self._watches:
            watch.start()
        for worker in self._workers:
            worker.start()

    @property
    def synced(self) -> bool:
        """Whether all PersistentVolumes and ModelVolumes are known: nothing is done before."""
        return all(watch.synced.is_set() for watch in self._watches)

    def stop(self, timeout: float = 1.0) -> None:
        """End; a source that is just being listed is left, and what it says is thrown away.

        Args:
            timeout: seconds to wait for each thread.

        """
        self._stopped.set()
        self._due.close()
        for watch in self._watches:
            watch.stop(timeout)
        for worker in self._workers:
            if worker.is_alive():
                worker.join(timeout)

    def _work(self) -> None:
        while not all(watch.synced.wait(_GLANCE) for watch in self._watches):
            if self._stopped.is_set():
                return
        while (name := self._due.take()) is not None:
            try:
                self._settle(name)
            except CsiModelError as error:
                self._complain(name, error)
                self._due.failed(name)
            except Exception as error:  # noqa: BLE001 - one odd source mustn't end the others' controller
                # The place only: the message may hold what the Secret did.
                where = "".join(traceback.format_tb(error.__traceback__))
                log.error("PersistentVolume %s: %s at\n%s", name, type(error), where)  # noqa: TRY400
                self._due.failed(name)
            else:
                self._due.done(name)

    def _settle(self, name: str) -> None:
        """Do what one PersistentVolume needs, whether it is still there or not.

        Raises:
            CsiModelError: it can't be done now.

        """
        gone = set()
        for known in self._seen.made_from(name):
            if is_orphan(known, self._seen.volume(name)) and is_orphan(known, self._read(name)):
                self._registry.delete(known.volume_id)
                gone.add(known.volume_id)
                log.info("ModelVolume of %s is deleted, as its PersistentVolume %s is gone", known.volume_id, name)
        volume = self._seen.volume(name)
        if volume is None:
            self._claims.pop(name, None)
            return
        if volume.handle in gone:  # the watch tells it, too, and then the next one is made
            return
        match decide(volume, self._seen.record(volume.handle)):
            case Action.ADOPT:
                self._adopt(name)
            case Action.FOLLOW:
                self._follow(volume)
            case Action.REFUSE:
                raise VolumeExists(
                    f"the volumeHandle {volume.handle!r} is that of another PersistentVolume's volume: "
                    "each needs one of its own"
                )

    def _adopt(self, name: str) -> None:
        volume = self._read(name)
        if volume is None or not volume.wanted:
            return
        spec, _ = volume.spec(), volume.capabilities()
        if volume.static:
            self._allowed.check(spec, "spec.csi.volumeAttributes.source")
        if self._registry.exists(volume.handle):  # it is news to us: the watch will tell
            return
        manifest = self._resolve(spec, self._secrets(volume, spec))
        if self._stopped.is_set():
            return
        now = self._read(name)
        if now is None or now.uid != volume.uid or not now.wanted:  # a new one of this name is looked at anew
            return
        try:
            record = as_its_class_says(self._api, now.record(manifest), now.attributes_class)
            self._registry.put(record, persistent_volume=name, uid=now.uid)
        except VolumeExists:  # another controller was faster
            return
        self._claims[name] = now.handle, now.claim
        made = Known(now.handle, name, now.uid)
        if is_orphan(made, self._read(name)):  # DeleteVolume may have come and found nothing
            self._registry.delete(now.handle)
            return
        text = f"{spec.source}: {bytes_text(manifest.size)} in {manifest.files} files, revision {manifest.digest}"
        log.info("PersistentVolume %s has its ModelVolume now: %s", name, text)
        self._events.say_of(_subject(now), warning=False, reason="ModelVolumeCreated", message=text)

    def _follow(self, volume: PersistentVolume) -> None:
        written = volume.handle, volume.claim
        if self._claims.get(volume.name) != written:
            with suppress(ApiAbsent):  # just deleted: the watch tells it, too
                self._registry.claimed(*written)
                self._claims[volume.name] = written

    def _read(self, name: str) -> PersistentVolume | None:
        item = self._api.get(f"{_VOLUMES}/{name}")
        return None if item is None else persistent_volumes.trim(item)

    def _secrets(self, volume: PersistentVolume, spec: VolumeSpec) -> Mapping[str, str]:
        if spec.auth != Auth.SECRET:
            return {}
        if volume.secret is None:
            raise InvalidArgument(
                "spec.csi.nodeStageSecretRef", "is missing: auth is secret, so name the Secret to read the source with"
            )
        namespace, name = volume.secret
        where = f"the Secret {namespace}/{name} of spec.csi.nodeStageSecretRef"
        item = self._api.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        if item is None:
            raise SourceUnauthenticated(f"{where} doesn't exist")
        try:
            data = dict(item.get("data") or {})
            return {key: base64.b64decode(value, validate=True).decode() for key, value in data.items()}
        except (TypeError, ValueError, AttributeError, binascii.Error):
            raise SourceUnauthenticated(f"{where} holds something that isn't text") from None

    def _complain(self, name: str, error: CsiModelError) -> None:
        volume = self._seen.volume(name)
        log.warning("PersistentVolume %s: %s", name, error)
        if volume is not None and not isinstance(error, ApiUnavailable):
            self._events.say_of(_subject(volume), warning=True, reason="ModelVolumeFailed", message=str(error))


def _subject(volume: PersistentVolume) -> Subject:
    if volume.claim is not None:
        return Subject.of(volume.claim)
    return Subject("PersistentVolume", "", volume.name, volume.uid or None)


def _known(item: Json) -> Known | None:
    metadata = item.get("metadata")
    if not isinstance(metadata, dict) or (volume_id := model_volume.volume_id_in(metadata)) is None:
        return None
    annotations = metadata.get("annotations") or {}
    made_from, uid = map(annotations.get, (model_volume.PERSISTENT_VOLUME, model_volume.PERSISTENT_VOLUME_UID))
    if not isinstance(made_from, str) or not OBJECT_NAME.match(made_from):  # it becomes a path of the API
        return Known(volume_id, None)
    return Known(volume_id, made_from, uid if isinstance(uid, str) else "")
