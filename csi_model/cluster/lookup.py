"""What a node is told of a volume by the cluster."""

from collections.abc import Callable

from csi_model.cluster.model_volume import name_of
from csi_model.core.volume import VolumeRecord
from csi_model.errors import RecordPending


def lookup_in(get: Callable[[str], VolumeRecord | None]) -> Callable[[str], VolumeRecord]:
    """Make a node's look-up of a registry's ``get``: a record that isn't there is one that isn't there yet.

    The look-up raises RecordPending if there is none, and what ``get`` raises.
    """

    def lookup(volume_id: str) -> VolumeRecord:
        record = get(volume_id)
        if record is None:
            raise RecordPending(
                f"volume {volume_id[:128]!r} has no ModelVolume {name_of(volume_id)} yet: the csi-model controller "
                "makes it from the PersistentVolume; if it can't, it says why in the events of the claim (or of the "
                "PersistentVolume)"
            )
        return record

    return lookup
