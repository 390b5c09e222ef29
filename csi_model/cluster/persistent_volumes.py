"""PersistentVolumes of this driver, trimmed to what matters, and what has to be done about each. No I/O.

A PV that CreateVolume didn't make has no ModelVolume until the controller makes one; one that was lost is made anew
from its PV. What is in a PV is what some administrator wrote, so it is checked like any input.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from csi_model import DRIVER_NAME
from csi_model.core import capability
from csi_model.core.capability import AccessMode, Capability
from csi_model.core.manifest import Manifest
from csi_model.core.naming import volume_id_of
from csi_model.core.placement import Placement
from csi_model.core.quantity import bytes_of
from csi_model.core.templates import OBJECT_NAME
from csi_model.core.volume import (
    MAX_CONTEXT_BYTES,
    REVISION_KEY,
    Claim,
    VolumeRecord,
    VolumeSpec,
    check_revision,
)
from csi_model.errors import InvalidArgument

Json = dict[str, Any]
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_MAX_HANDLE = 128  # bytes; CSI spec, "Size Limits"
_MAX_TEXT = 1024  # characters of a text that isn't a context: anything longer is none of the names it should be
_IN_USE = frozenset({"", "Pending", "Available", "Bound"})
"""Phases in which a PV can be mounted."""
_RELEASED = frozenset({"Released", "Failed"})
_MODES = {  # as external-provisioner maps them for a driver that advertises SINGLE_NODE_MULTI_WRITER
    "ReadWriteOnce": AccessMode.SINGLE_NODE_MULTI_WRITER,
    "ReadOnlyMany": AccessMode.MULTI_NODE_READER_ONLY,
    "ReadWriteMany": AccessMode.MULTI_NODE_MULTI_WRITER,
    "ReadWriteOncePod": AccessMode.SINGLE_NODE_SINGLE_WRITER,
}


@dataclass(frozen=True, slots=True)
class PersistentVolume:
    """What matters of one.

    Attributes:
        name: its own.
        uid: which one of that name.
        handle: the volume's id.
        context: its volumeAttributes.
        access_modes: as Kubernetes calls them.
        block: whether it is asked to be a block device.
        fs_type: the file system asked for.
        mount_flags: its mountOptions.
        capacity: bytes; 0 if it doesn't say.
        static: whether people wrote it, rather than this driver's provisioner.
        claim: whom it belongs to, if it is bound.
        secret: namespace and name of the Secret to read the source with, if it names one.
        wanted: whether it can be mounted by new pods.
        released: whether the claim that it belonged to is gone.
        problem: why it can't be a volume at all; "" if it can.
        attributes_class: name of its VolumeAttributesClass; "" if it has none.

    """

    name: str
    uid: str
    handle: str
    context: Mapping[str, str]
    access_modes: tuple[str, ...]
    block: bool
    fs_type: str
    mount_flags: tuple[str, ...]
    capacity: int
    static: bool
    claim: Claim | None
    secret: tuple[str, str] | None
    wanted: bool
    released: bool
    problem: str = ""
    attributes_class: str = ""

    def spec(self) -> VolumeSpec:
        """Parse its context.

        Raises:
            InvalidArgument: it can't be a volume, or names its source in a way that isn't one.

        """
        if self.problem:
            raise InvalidArgument(f"PersistentVolume {self.name[:253]}", self.problem)
        if not self.static:
            return VolumeSpec.from_context(self.context)
        spec = VolumeSpec.from_attributes(self.context)
        if spec.placement == Placement.REQUIRE:
            raise InvalidArgument(
                "spec.csi.volumeAttributes.placement",
                "is require, which is for StorageClasses: whoever writes a PersistentVolume adds its nodeAffinity",
            )
        return spec

    def capabilities(self) -> tuple[Capability, ...]:
        """Translate its access modes.

        Raises:
            InvalidArgument: it has none, or one that nobody knows.
            UnsupportedCapability: it wants what a read-only volume can't be.

        """
        for mode in self.access_modes:
            if mode not in _MODES:
                raise InvalidArgument("spec.accessModes", f"has {mode[:80]!r}, known are {', '.join(_MODES)}")
        found = tuple(Capability(_MODES[m], self.block, self.fs_type, self.mount_flags) for m in self.access_modes)
        capability.check_all(found)
        return found

    def record(self, manifest: Manifest) -> VolumeRecord:
        """Make the record of its volume.

        Raises:
            InvalidArgument: it expects another revision; or as :meth:`spec` and :meth:`capabilities`.
            UnsupportedCapability: as :meth:`capabilities`.

        """
        check_revision(self.context, manifest)
        capacity = max(self.capacity, manifest.size)
        return VolumeRecord(self.handle, self.name, self.spec(), self.capabilities(), capacity, manifest, self.claim)


@dataclass(frozen=True, slots=True)
class Known:
    """A ModelVolume, as far as its metadata tells.

    Attributes:
        volume_id: of its volume.
        persistent_volume: name of the PV that it was made from; None if CreateVolume made it.
        uid: of that PV; "" if it doesn't tell.

    """

    volume_id: str
    persistent_volume: str | None
    uid: str = ""


class Action(Enum):
    """What to do about a PV."""

    NOTHING = "nothing"
    ADOPT = "make its ModelVolume"
    REFUSE = "say that its volume belongs to another PersistentVolume"
    FOLLOW = "write down whose claim it is, if that has changed"


def decide(volume: PersistentVolume, known: Known | None) -> Action:
    """Decide what a PV needs, given the ModelVolume of its handle, if there is one."""
    if not volume.wanted:
        return Action.NOTHING
    if known is None:
        return Action.ADOPT
    if known.persistent_volume is None:
        made_for_it = not volume.static or known.volume_id == volume_id_of(volume.name)
        return Action.NOTHING if made_for_it else Action.REFUSE
    return Action.FOLLOW if known.persistent_volume == volume.name else Action.REFUSE


def is_orphan(known: Known, volume: PersistentVolume | None) -> bool:
    """Tell whether a ModelVolume has to go, given the PV that it was made from, if that is still there.

    Those that CreateVolume made go with DeleteVolume. One of a provisioned PV that was made anew goes too once its PV
    is released: DeleteVolume may have come before it was made.
    """
    if known.persistent_volume is None:
        return False
    if volume is None or volume.handle != known.volume_id:
        return True
    if known.uid and known.uid != volume.uid:  # deleted and made anew, perhaps while nobody looked
        return True
    return volume.released and not volume.static


def trim(item: Json) -> PersistentVolume | None:
    """Take what matters of a PV from the API; None if it isn't one of this driver's. Never raises."""
    metadata, spec = _map(item.get("metadata")), _map(item.get("spec"))
    csi, name = _map(spec.get("csi")), _name(metadata.get("name"))
    if csi.get("driver") != DRIVER_NAME or not name:
        return None
    phase = _text(_map(item.get("status")).get("phase"))
    handle = csi.get("volumeHandle")
    context = {key: value for key, value in _map(csi.get("volumeAttributes")).items() if "/" not in key}  # ours
    problem = _problem(handle, context)
    secret = _map(csi.get("nodeStageSecretRef"))
    names = _name(secret.get("namespace")), _name(secret.get("name"))
    return PersistentVolume(
        name=name,
        uid=_text(metadata.get("uid")),
        handle="" if problem else str(handle),
        context={} if problem else context,
        access_modes=_texts(spec.get("accessModes")),
        block=spec.get("volumeMode") == "Block",
        fs_type=_text(csi.get("fsType")),
        mount_flags=_texts(spec.get("mountOptions")),
        capacity=bytes_of(_text(_map(spec.get("capacity")).get("storage"))),
        static=not _is_provisioned(_map(metadata.get("annotations")), context),
        claim=_claim(_map(spec.get("claimRef"))),
        secret=names if all(names) else None,
        wanted=not metadata.get("deletionTimestamp") and phase in _IN_USE,
        released=phase in _RELEASED,
        problem=problem,
        attributes_class=_name(spec.get("volumeAttributesClassName")),
    )


def _is_provisioned(annotations: Json, context: Json) -> bool:
    """Tell whether a PV is what CreateVolume answered.

    Whoever makes a PV can write the annotation, and so go round the allow-list; but only who may read the source knows
    the revision, with which the source has to agree.
    """
    return annotations.get(_PROVISIONED_BY) == DRIVER_NAME and REVISION_KEY in context


def _problem(handle: object, context: Mapping[Any, Any]) -> str:
    if not isinstance(handle, str) or not handle or not _is_unicode(handle) or len(handle.encode()) > _MAX_HANDLE:
        return f"spec.csi.volumeHandle has to be a text of 1 to {_MAX_HANDLE} bytes"
    if not all(isinstance(text, str) and _is_unicode(text) for pair in context.items() for text in pair):
        return "spec.csi.volumeAttributes have to be texts"
    if sum(len(text.encode()) for pair in context.items() for text in pair) > MAX_CONTEXT_BYTES:
        return f"spec.csi.volumeAttributes have more than {MAX_CONTEXT_BYTES} bytes"
    return ""


def _claim(reference: Json) -> Claim | None:
    namespace, name = _name(reference.get("namespace")), _name(reference.get("name"))
    return Claim(namespace, name, _text(reference.get("uid")) or None) if namespace and name else None


def _map(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(_text, value[:32])) if isinstance(value, list) else ()


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= _MAX_TEXT and _is_unicode(value) else ""


def _name(value: object) -> str:
    """Take a name of an object; what isn't one would become a path of the API."""
    text = _text(value)
    return text if OBJECT_NAME.match(text) else ""


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
