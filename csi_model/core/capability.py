"""Which access modes and types a read-only model volume can have, and how many targets each allows.

Sources: CSI spec 1.12, VolumeCapability and the second-call table of NodePublishVolume.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from csi_model.errors import InvalidArgument, UnsupportedCapability


class AccessMode(IntEnum):
    """CSI's access modes by their wire numbers (VolumeCapability.AccessMode.Mode)."""

    UNKNOWN = 0
    SINGLE_NODE_WRITER = 1
    SINGLE_NODE_READER_ONLY = 2
    MULTI_NODE_READER_ONLY = 3
    MULTI_NODE_SINGLE_WRITER = 4
    MULTI_NODE_MULTI_WRITER = 5
    SINGLE_NODE_SINGLE_WRITER = 6
    SINGLE_NODE_MULTI_WRITER = 7


_MANY_WRITERS = (AccessMode.MULTI_NODE_SINGLE_WRITER, AccessMode.MULTI_NODE_MULTI_WRITER)
_ONE_TARGET = (
    AccessMode.SINGLE_NODE_WRITER,
    AccessMode.SINGLE_NODE_READER_ONLY,
    AccessMode.SINGLE_NODE_SINGLE_WRITER,
)
MOUNT_FLAGS = frozenset({"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime"})
"""Mount flags that a StorageClass may ask for; anything else could loosen the mount, so it is refused."""


@dataclass(frozen=True, slots=True)
class Capability:
    """What a volume is asked to be able to do.

    Attributes:
        mode: the access mode.
        block: True for a raw block device, False for a mounted file system.
        fs_type: the file system asked for; ignored, since the files lie on the node's own.
        mount_flags: in the order asked for.

    """

    mode: AccessMode
    block: bool = False
    fs_type: str = ""
    mount_flags: tuple[str, ...] = ()

    @property
    def single_target(self) -> bool:
        """Whether a second target path on the same node is refused (FAILED_PRECONDITION)."""
        return self.mode in _ONE_TARGET


def check(capability: Capability) -> None:
    """Refuse what a read-only volume of files can't be.

    Writers on a single node are accepted and mounted read-only: Kubernetes sends SINGLE_NODE_MULTI_WRITER for
    ReadWriteOnce, and csi-sanity asks for nothing but SINGLE_NODE_WRITER.

    Raises:
        InvalidArgument: the mode is missing or unknown.
        UnsupportedCapability: block access, writers on many nodes, or a mount flag outside MOUNT_FLAGS.

    """
    if capability.mode == AccessMode.UNKNOWN:
        raise InvalidArgument(
            "volume_capability.access_mode", "is missing: a model volume wants MULTI_NODE_READER_ONLY"
        )
    if capability.block:
        raise UnsupportedCapability(
            "a model volume is a directory of files: use volumeMode: Filesystem instead of Block"
        )
    if capability.mode in _MANY_WRITERS:
        raise UnsupportedCapability(
            "a model volume is read-only, so nobody can write to it from many nodes: "
            "use ReadOnlyMany instead of ReadWriteMany"
        )
    for flag in capability.mount_flags:
        if flag not in MOUNT_FLAGS:
            raise UnsupportedCapability(
                f"mount option {flag[:80]!r} is not allowed: {', '.join(sorted(MOUNT_FLAGS))} are"
            )


def check_all(capabilities: Iterable[Capability]) -> None:
    """Refuse a list unless every capability in it can be satisfied.

    Raises:
        InvalidArgument: the list is empty, or as :func:`check`.
        UnsupportedCapability: as :func:`check`.

    """
    empty = True
    for capability in capabilities:
        empty = False
        check(capability)
    if empty:
        raise InvalidArgument("volume_capabilities", "are missing")
