"""A VolumeRecord without its manifest, as JSON: what a registry writes beside the manifest's canonical form."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from csi_model.core.capability import AccessMode, Capability
from csi_model.core.manifest import Manifest
from csi_model.core.volume import VolumeRecord, VolumeSpec
from csi_model.errors import InvalidArgument, StoreUnusable

_VERSION = 1


def to_json(record: VolumeRecord) -> dict[str, Any]:
    """Render a record; the manifest is named by its digest."""
    return {
        "version": _VERSION,
        "volume_id": record.volume_id,
        "name": record.name,
        "context": record.spec.context(),
        "from_claim": record.spec.from_claim,
        "capabilities": [
            {"mode": c.mode.name, "block": c.block, "fs_type": c.fs_type, "mount_flags": list(c.mount_flags)}
            for c in record.capabilities
        ],
        "capacity": record.capacity,
        "manifest": record.manifest.digest,
    }


def from_json(document: Mapping[str, Any], manifest: Manifest) -> VolumeRecord:
    """Read a record back.

    Raises:
        StoreUnusable: it is damaged, of a version that this program doesn't know, or belongs to another manifest.

    """
    try:
        if document["version"] != _VERSION:
            raise StoreUnusable(f"it has version {document['version']!r}, this program knows {_VERSION}")
        if document["manifest"] != manifest.digest:
            raise StoreUnusable(f"its manifest is {manifest.digest}, it names {document['manifest']!r}")
        spec = replace(VolumeSpec.from_context(document["context"]), from_claim=document["from_claim"])
        capabilities = tuple(
            Capability(AccessMode[c["mode"]], c["block"], c["fs_type"], tuple(c["mount_flags"]))
            for c in document["capabilities"]
        )
        volume_id, name, capacity = document["volume_id"], document["name"], document["capacity"]
    except (KeyError, TypeError, AttributeError, InvalidArgument) as error:
        raise StoreUnusable(f"it is damaged: {error!r}") from error
    return VolumeRecord(volume_id, name, spec, capabilities, capacity, manifest)
