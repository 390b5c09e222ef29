"""ModelVolumes: the registry of volumes in a cluster, one custom resource each."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from csi_model.cluster import model_volume
from csi_model.cluster.api import METADATA, METADATA_LIST, Api
from csi_model.cluster.errors import ApiAbsent, ApiConflict, ApiExpired
from csi_model.cluster.model_volume import PATH
from csi_model.core.placement import Wants
from csi_model.core.records import wants_to_json
from csi_model.core.volume import Claim, VolumeRecord
from csi_model.errors import StoreUnusable, VolumeExists, VolumeNotFound

log = logging.getLogger(__name__)
_PAGE = 500  # objects in one answer; names and annotations only
_TRIES = 3


class ModelVolumes:
    """:class:`csi_model.volumes.registry.VolumeRegistry` in the Kubernetes API, shared by all that use the cluster.

    Args:
        api: where the objects are.

    """

    def __init__(self, api: Api) -> None:
        self._api = api

    def get(self, volume_id: str) -> VolumeRecord | None:
        item = self._api.get(_path(volume_id))
        return None if item is None else _parse(item, volume_id)

    def named(self, name: str) -> VolumeRecord | None:
        """Return the record of the ModelVolume of a name (that of an object); None if there is none.

        Raises:
            StoreUnusable: the registry can't be read, or the object is damaged.

        """
        item = self._api.get(f"{PATH}/{name}")
        if item is None:
            return None
        metadata = item.get("metadata")
        volume_id = model_volume.volume_id_in(metadata) if isinstance(metadata, dict) else None
        if volume_id is None:
            raise StoreUnusable(f"the ModelVolume {name} isn't what its name says")
        return _parse(item, volume_id)

    def put(self, record: VolumeRecord, *, persistent_volume: str | None = None, uid: str = "") -> None:
        """As the contract says, and CapacityExceeded if the manifest is too large.

        Args:
            record: of the volume.
            persistent_volume: as :func:`csi_model.cluster.model_volume.render` takes it.
            uid: likewise.

        """
        item = model_volume.render(record, persistent_volume=persistent_volume, uid=uid)
        try:
            self._api.create(PATH, item)
        except ApiConflict:
            raise VolumeExists(f"volume {record.volume_id[:128]!r} exists") from None

    def modify(self, volume_id: str, wants: Wants) -> None:
        try:
            self._api.merge_patch(_path(volume_id), {"spec": {"wants": wants_to_json(wants)}}, accept=METADATA)
        except ApiAbsent:
            raise VolumeNotFound(f"no volume has the id {volume_id[:128]!r}") from None

    def delete(self, volume_id: str) -> None:
        self._api.delete(_path(volume_id))

    def ids(self, *, after: str = "", limit: int | None = None) -> Sequence[str]:
        """As the contract says; an object that isn't what its name says is logged and left out."""
        found = []
        for metadata in self._all():
            volume_id = model_volume.volume_id_in(metadata)
            if volume_id is None:
                log.warning("ModelVolume %s is none of ours: it is left out of the list", metadata.get("name"))
            elif volume_id > after:
                found.append(volume_id)
        return sorted(found)[:limit]

    def exists(self, volume_id: str) -> bool:
        """Tell whether a volume has an object, in whatever state.

        Raises:
            StoreUnusable: the registry can't be read.

        """
        return self._api.get(_path(volume_id), accept=METADATA) is not None

    def claimed(self, volume_id: str, claim: Claim | None) -> None:
        """Write down whose claim the volume belongs to now, for people who list the objects.

        Raises:
            StoreUnusable: it can't be written.

        """
        value = None if claim is None else {"namespace": claim.namespace, "name": claim.name, "uid": claim.uid}
        self._api.merge_patch(_path(volume_id), {"spec": {"claim": value}}, accept=METADATA)

    def _all(self) -> list[dict[str, Any]]:
        for _ in range(_TRIES - 1):
            try:
                return list(self._pages())
            except ApiExpired:
                log.info("the list of ModelVolumes took too long: it is begun anew")
        return list(self._pages())

    def _pages(self) -> Iterator[dict[str, Any]]:
        query = {"limit": str(_PAGE)}
        while True:
            page = self._api.list(PATH, query=query, accept=METADATA_LIST)
            try:
                yield from [dict(item["metadata"]) for item in page["items"] or []]
                query["continue"] = page["metadata"].get("continue") or ""
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise StoreUnusable(f"the list of ModelVolumes is damaged: {repr(error)[:200]}") from error
            if not query["continue"]:
                return


def _parse(item: dict[str, Any], volume_id: str) -> VolumeRecord:
    try:
        return model_volume.parse(item, volume_id)
    except StoreUnusable as error:
        raise StoreUnusable(
            f"the ModelVolume {model_volume.name_of(volume_id)} of volume {volume_id[:128]!r} can't be used: "
            f"{error}. When it is deleted, the controller makes it anew from its PersistentVolume"
        ) from error


def _path(volume_id: str) -> str:
    return f"{PATH}/{model_volume.name_of(volume_id)}"
