"""CreateVolume's name, and the volume id that it gives."""

import hashlib

from csi_model.errors import InvalidArgument

_MAX_BYTES = 128  # CSI spec, "Size Limits"
_FORBIDDEN = {*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0)}


def check_name(name: str) -> None:
    """Check CreateVolume's name.

    Raises:
        InvalidArgument: it is empty, over 128 bytes, no Unicode, or has characters that the CSI spec forbids.

    """
    if not name:
        raise InvalidArgument("name", "is missing")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidArgument("name", "is not valid Unicode") from None
    if size > _MAX_BYTES:
        raise InvalidArgument("name", f"has more than {_MAX_BYTES} bytes")
    if any(ord(char) in _FORBIDDEN for char in name):
        raise InvalidArgument("name", "has control characters, which the CSI spec forbids")


def volume_id_of(name: str) -> str:
    """Return the volume id for a name: unique per PV, and never the digest of what it holds.

    Two PVs with one handle would be one volume to kubelet, and a pod with both would wait for ever.
    """
    return "m-" + hashlib.sha256(name.encode()).hexdigest()[:40]
