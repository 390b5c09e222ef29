"""A VolumeRecord without its manifest, as JSON: what a registry keeps beside the manifest's canonical form."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar

from csi_model.core.capability import AccessMode, Capability
from csi_model.core.manifest import Manifest
from csi_model.core.placement import Wants, read_replicas, read_selector, render_replicas, render_selector
from csi_model.core.volume import Claim, VolumeRecord, VolumeSpec
from csi_model.errors import InvalidArgument, StoreUnusable

T = TypeVar("T")
VERSION = 1


def to_json(record: VolumeRecord) -> dict[str, Any]:
    """Render a record; the manifest is named by its digest."""
    document: dict[str, Any] = {} if record.wants is None else {"wants": wants_to_json(record.wants)}
    document |= {
        "version": VERSION,
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
    return document if record.claim is None else {**document, "claim": asdict(record.claim)}


def from_json(document: Mapping[str, Any], manifest: Manifest) -> VolumeRecord:
    """Read a record back; files and APIs can lie, so nothing is taken for what it isn't.

    Raises:
        StoreUnusable: it is damaged, of a version that this program doesn't know, or belongs to another manifest.

    """
    try:
        if document["version"] != VERSION:
            raise StoreUnusable(f"it has version {str(document['version'])[:80]!r}, this program knows {VERSION}")
        if document["manifest"] != manifest.digest:
            raise StoreUnusable(f"its manifest is {manifest.digest}, it names {str(document['manifest'])[:80]!r}")
        context = {exactly(str, key): exactly(str, value) for key, value in document["context"].items()}
        record = VolumeRecord(
            volume_id=exactly(str, document["volume_id"]),
            name=exactly(str, document["name"]),
            spec=replace(VolumeSpec.from_context(context), from_claim=exactly(bool, document["from_claim"])),
            capabilities=tuple(map(_capability, exactly(list, document["capabilities"]))),
            capacity=exactly(int, document["capacity"]),
            manifest=manifest,
            claim=_claim(document.get("claim")),
        )
        return record if document.get("wants") is None else record.wanting(wants_from_json(document["wants"]))
    except (KeyError, TypeError, ValueError, AttributeError, InvalidArgument) as error:
        raise StoreUnusable(f"it is damaged: {repr(error)[:400]}") from error


def wants_to_json(wants: Wants) -> dict[str, Any]:
    """Render what a volume wants, as people write it."""
    selector = render_selector(wants.node_selector)
    return {"replicas": render_replicas(wants.replicas), "nodeSelector": selector, "pin": wants.pin}


def wants_from_json(document: Mapping[str, Any]) -> Wants:
    """Read what a volume wants; what isn't there is the default.

    Raises:
        TypeError, ValueError, AttributeError: it is something else.

    """
    return Wants(
        replicas=read_replicas(exactly(str, document.get("replicas", "0"))),
        node_selector=read_selector(exactly(str, document.get("nodeSelector", ""))),
        pin=exactly(bool, document.get("pin", False)),
    )


def _capability(item: dict[str, Any]) -> Capability:
    mode = AccessMode[exactly(str, item["mode"])]
    flags = tuple(exactly(str, flag) for flag in exactly(list, item["mount_flags"]))
    return Capability(mode, exactly(bool, item["block"]), exactly(str, item["fs_type"]), flags)


def _claim(item: dict[str, Any] | None) -> Claim | None:
    if item is None:
        return None
    uid = item.get("uid")
    uid = None if uid is None else exactly(str, uid)
    return Claim(exactly(str, item["namespace"]), exactly(str, item["name"]), uid)


def exactly(kind: type[T], value: Any) -> T:
    """Take a value of JSON for what it has to be, and for nothing alike; raises TypeError."""
    if type(value) is not kind:
        raise TypeError(f"{str(value)[:80]!r} is no {kind.__name__}")
    return value
