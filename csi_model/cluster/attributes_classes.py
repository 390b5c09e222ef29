"""VolumeAttributesClasses: what was said anew of a volume whose ModelVolume is made from its PersistentVolume."""

from typing import TYPE_CHECKING

from csi_model import DRIVER_NAME
from csi_model.cluster.errors import ApiNotFound
from csi_model.core.changes import MUTABLE, change, check_bringable
from csi_model.errors import InvalidArgument

if TYPE_CHECKING:
    from csi_model.cluster.api import Api
    from csi_model.core.volume import VolumeRecord

_PATH = "/apis/storage.k8s.io/v1/volumeattributesclasses"


def as_its_class_says(api: "Api", record: "VolumeRecord", name: str) -> "VolumeRecord":
    """Return a record that wants what its PersistentVolume's class says; as it is if there is no such class.

    Args:
        api: where the classes are.
        record: of the volume, as it was made.
        name: of the class; "" for none.

    Raises:
        InvalidArgument: the class isn't one for this volume.
        StoreUnusable: the API doesn't tell.

    """
    try:
        item = api.get(f"{_PATH}/{name}") if name else None
    except ApiNotFound:  # Kubernetes before 1.34
        item = None
    if item is None:
        return record
    parameters = item.get("parameters") or {}
    if item.get("driverName") != DRIVER_NAME or not isinstance(parameters, dict):
        raise InvalidArgument(f"VolumeAttributesClass {name}", f"isn't one of the driver {DRIVER_NAME}")
    wants = change(record.wanted, {str(key): str(value) for key, value in parameters.items()})
    check_bringable(record.spec.auth, wants, where=MUTABLE)
    return record.wanting(wants)
