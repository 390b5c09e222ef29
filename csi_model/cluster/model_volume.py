"""ModelVolume: a VolumeRecord as a custom resource. No I/O.

The object is named after the volume: by its id where that has the form which this driver gives, else by a hash of it
(ids are free text). The manifest is inside, compressed, since that is how the nodes get it.
"""

import base64
import binascii
import hashlib
import json
import re
import zlib
from typing import Any

from csi_model.core.manifest import Manifest
from csi_model.core.records import VERSION, from_json, to_json, wants_from_json, wants_to_json
from csi_model.core.units import bytes_text
from csi_model.core.volume import VolumeRecord
from csi_model.errors import CapacityExceeded, SourceInvalid, StoreUnusable

Json = dict[str, Any]
GROUP_VERSION = "csi-model.io/v1alpha1"
PATH = f"/apis/{GROUP_VERSION}/modelvolumes"
HANDLE = "csi-model.io/volume-handle"
"""Annotation with the volume's id, where the name isn't it: what a list of names and annotations is enough for."""
PERSISTENT_VOLUME = "csi-model.io/persistent-volume"
"""Annotation with the name of the PersistentVolume that the object was made from, where CreateVolume didn't make it:
it goes when that goes."""
PERSISTENT_VOLUME_UID = "csi-model.io/persistent-volume-uid"
"""Annotation with the uid of that PersistentVolume: a new one of the same name is another volume."""
MAX_MANIFEST = 512 * 1024
"""Bytes of a compressed manifest: an object in etcd has at most 1.5 MiB, and every node that uses it fetches it."""
MAX_CANONICAL = 32 * 1024 * 1024
"""Bytes of a manifest that is decompressed."""
_OURS = re.compile(r"m-[0-9a-f]{40}\Z")
_ESCAPED = "json:"
_SHORT = 12  # digits


def name_of(volume_id: str) -> str:
    """Return the name of a volume's object."""
    if _OURS.match(volume_id):
        return volume_id
    return "s-" + hashlib.sha256(volume_id.encode(errors="surrogatepass")).hexdigest()[:40]


def render(record: VolumeRecord, *, persistent_volume: str | None = None, uid: str = "") -> Json:
    """Make the object for a record.

    Args:
        record: of the volume.
        persistent_volume: name of the PersistentVolume that it is made from; None if CreateVolume makes it.
        uid: of that PersistentVolume; "" if it isn't known.

    Raises:
        CapacityExceeded: the manifest is too large for an object of the API.

    """
    document, name = to_json(record), name_of(record.volume_id)
    annotations = {} if name == record.volume_id else {HANDLE: _escape(record.volume_id)}
    if persistent_volume is not None:
        annotations |= {PERSISTENT_VOLUME: persistent_volume, PERSISTENT_VOLUME_UID: uid}
    spec = {
        "volumeHandle": _escape(record.volume_id),
        "volumeName": record.name,
        "source": str(record.spec.source),
        "revision": record.manifest.digest,
        "shortRevision": record.manifest.digest[:_SHORT],
        "bytes": record.manifest.size,
        "files": record.manifest.files,
        "size": bytes_text(record.manifest.size),
        "capacityBytes": record.capacity,
        "context": document["context"],
        "placement": record.spec.placement.value,
        "wants": wants_to_json(record.wanted),
        "fromClaim": document["from_claim"],
        "capabilities": [
            {"mode": c.mode.name, "block": c.block, "fsType": c.fs_type, "mountFlags": list(c.mount_flags)}
            for c in record.capabilities
        ],
        "manifest": _packed(record),
    }
    if record.claim is not None:
        spec["claim"] = {key: value for key, value in document["claim"].items() if value is not None}
    metadata = {"name": name, "annotations": annotations}
    return {"apiVersion": GROUP_VERSION, "kind": "ModelVolume", "metadata": metadata, "spec": spec}


def parse(item: Json, volume_id: str) -> VolumeRecord:
    """Read the record of a volume from its object; nothing in it is believed before it is checked.

    Raises:
        StoreUnusable: it is damaged, or that of another volume.

    """
    try:
        spec = item["spec"]
        manifest = _unpacked(spec["manifest"], spec["revision"])
        document = {
            "version": VERSION,
            "volume_id": _unescape(spec["volumeHandle"]),
            "name": spec["volumeName"],
            "context": spec["context"],
            "from_claim": spec["fromClaim"],
            "capabilities": [
                {
                    "mode": c["mode"],
                    "block": c.get("block", False),
                    "fs_type": c.get("fsType", ""),
                    "mount_flags": c.get("mountFlags", []),
                }
                for c in spec["capabilities"]
            ],
            "capacity": spec["capacityBytes"],
            "manifest": spec["revision"],
            "claim": spec.get("claim"),
            "wants": wants_in(spec),
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreUnusable(f"it is damaged: {repr(error)[:300]}") from error
    record = from_json(document, manifest)
    if record.volume_id != volume_id:
        raise StoreUnusable(f"it is that of volume {record.volume_id[:128]!r}")
    return record


def wants_in(spec: Json) -> Json | None:
    """Return what an object's spec says that its volume wants; None if it says nothing, or nothing sound.

    Unlike the rest it is what an administrator may edit, and not all of it can be checked by a schema: a slip there
    leaves the volume as it was made, and mountable. Never raises.
    """
    wants = spec.get("wants")
    try:
        return None if wants is None else wants_to_json(wants_from_json(wants))
    except (TypeError, ValueError, AttributeError):
        return None


def volume_id_in(metadata: Json) -> str | None:
    """Return the id of the volume whose object has this metadata; None if it doesn't tell the truth."""
    name, annotations = metadata.get("name"), metadata.get("annotations") or {}
    if not isinstance(name, str) or not isinstance(annotations, dict):
        return None
    try:
        volume_id = _unescape(annotations[HANDLE]) if HANDLE in annotations else name
    except (StoreUnusable, TypeError, AttributeError):
        return None
    return volume_id if name_of(volume_id) == name else None


def _packed(record: VolumeRecord) -> str:
    canonical = record.manifest.canonical
    packed = zlib.compress(canonical, 9)
    if len(packed) > MAX_MANIFEST or len(canonical) > MAX_CANONICAL:
        raise CapacityExceeded(
            f"the list of the {record.manifest.files} files of {record.spec.source} takes {len(packed)} bytes "
            f"compressed ({len(canonical)} as they are), a ModelVolume has room for {MAX_MANIFEST} ({MAX_CANONICAL}): "
            "choose files with include and exclude"
        )
    return base64.b64encode(packed).decode()


def _unpacked(text: str, digest: str) -> Manifest:
    """Unpack a manifest, with bounds on both sides: a few bytes can claim to be gigabytes."""
    if len(text) > 2 * MAX_MANIFEST:
        raise StoreUnusable("its manifest is too large")
    try:
        decompressor = zlib.decompressobj()
        canonical = decompressor.decompress(base64.b64decode(text, validate=True), MAX_CANONICAL)
        if not decompressor.eof or decompressor.unused_data:
            raise StoreUnusable("its manifest is damaged: it doesn't end where it should")
        return Manifest.parse(canonical, digest=digest)
    except (binascii.Error, ValueError, zlib.error, SourceInvalid) as error:
        raise StoreUnusable(f"its manifest is damaged: {str(error)[:300]}") from error


def _escape(text: str) -> str:
    """Keep an id that JSON of the API can't carry (lone surrogates), or that looks as if it had been."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _ESCAPED + json.dumps(text)
    return _ESCAPED + json.dumps(text) if text.startswith(_ESCAPED) else text


def _unescape(text: str) -> str:
    if not text.startswith(_ESCAPED):
        return text
    try:
        original = json.loads(text.removeprefix(_ESCAPED))
    except (ValueError, RecursionError) as error:
        raise StoreUnusable("its volume handle is damaged") from error
    if not isinstance(original, str):
        raise StoreUnusable("its volume handle is damaged")
    return original
