"""Volume: an id and the Revision it refers to, for ever. This module owns parameters ↔ volume_context.

A StorageClass's parameters become a :class:`VolumeSpec`; the spec becomes the volume_context that every later call
carries. The context names the place; the manifest digest in it (``revision``) is what its reader expects to find, not
where to find it: what a volume *is* stands in its VolumeRecord, which only the driver writes.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from csi_model.core.capability import Capability
from csi_model.core.fields import FIELDS, Auth, parse_fields, render_fields
from csi_model.core.manifest import Manifest
from csi_model.core.reference import Reference
from csi_model.core.templates import OBJECT_NAME, expand
from csi_model.errors import InvalidArgument

SCHEMA = "1"
"""Version of the volume_context, also of one that doesn't say (people write those of static PVs and inline volumes); a
node refuses one that it doesn't know instead of guessing."""
SCHEMA_KEY = "schema"
REVISION_KEY = "revision"
"""The Manifest digest that the context's author expects. Bytes are never looked up by it."""
MAX_CONTEXT_BYTES = 4096  # CSI spec, "Size Limits": map<string, string> is 4 KiB in total
PROVISIONER_PREFIX = "csi.storage.k8s.io/"
"""Keys that external-provisioner (--extra-create-metadata) and kubelet (podInfoOnMount) add."""
_MAX_NAME_BYTES = 128  # CSI spec, "Size Limits"
_REVISION = re.compile(r"[0-9a-f]{64}\Z")
_REVISION_BYTES = len(REVISION_KEY) + 64
_UID = re.compile(r"pvc-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\Z")  # external-provisioner's names of volumes
_FORBIDDEN_IN_NAME = {*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0)}


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """What a volume was asked to be, parsed.

    Attributes:
        source: the Reference, templates expanded.
        endpoint: URL of the service; empty for the cloud's own.
        region: the bucket's region; empty for the default.
        addressing: ``auto``, ``path`` or ``virtual`` host style.
        auth: whose rights read it.
        include: globs, one of which a file must match; empty means all.
        exclude: globs, none of which a file may match.
        pin: evicted only when nothing else can go.
        from_claim: whether the source's text was made from the claim's own words (then ``ambient`` needs the
            administrator's allow-list).

    """

    source: Reference
    endpoint: str = ""
    region: str = ""
    addressing: str = "auto"
    auth: Auth = Auth.SECRET
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    pin: bool = False
    from_claim: bool = False

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> "VolumeSpec":
        """Parse StorageClass parameters.

        Args:
            parameters: as CreateVolume gets them; keys under ``csi.storage.k8s.io/`` name the claim and the PV.

        Raises:
            InvalidArgument: a parameter is unknown (the nearest name is suggested), missing or malformed, or a
                template names what the call doesn't carry.

        """
        own = {key: value for key, value in parameters.items() if not key.startswith(PROVISIONER_PREFIX)}
        fields = parse_fields(own)
        text, from_claim = expand(fields.pop("source"), parameters)
        return replace(cls(Reference.parse(text, field="parameters.source"), **fields), from_claim=from_claim)

    @classmethod
    def from_context(cls, context: Mapping[str, str]) -> "VolumeSpec":
        """Parse a volume_context; keys that others added are ignored.

        Raises:
            InvalidArgument: the schema is unknown or a value malformed.

        """
        found = context.get(SCHEMA_KEY, SCHEMA)
        if found != SCHEMA:
            raise InvalidArgument(
                f"volume_context.{SCHEMA_KEY}",
                f"is {found!r}, this node knows {SCHEMA!r}: was the volume made by another version of csi-model?",
            )
        own = {key: value for key, value in context.items() if key in FIELDS}
        fields = parse_fields(own, where="volume_context")
        return cls(Reference.parse(fields.pop("source"), field="volume_context.source"), **fields)

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, str]) -> "VolumeSpec":
        """Parse the ``volumeAttributes`` that people wrote, where a misspelt name has to be told.

        Args:
            attributes: of a static PersistentVolume or an inline volume; names with a slash are others' additions.

        Raises:
            InvalidArgument: a name is unknown (the nearest one is suggested), or as :meth:`from_context`.

        """
        own = {k: v for k, v in attributes.items() if "/" not in k and k not in (SCHEMA_KEY, REVISION_KEY)}
        parse_fields(own, where="volumeAttributes")
        return cls.from_context(attributes)

    def context(self) -> dict[str, str]:
        """Render the volume_context without its revision: only what differs from a default, so that it stays small.

        Raises:
            InvalidArgument: it would be larger than CSI allows.

        """
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name in FIELDS}
        differing = {f.name: own[f.name] for f in fields(self) if f.name in own and own[f.name] != f.default}
        context = {SCHEMA_KEY: SCHEMA, **render_fields(differing)}
        size = sum(len(k.encode()) + len(v.encode()) for k, v in context.items()) + _REVISION_BYTES
        if size > MAX_CONTEXT_BYTES:
            raise InvalidArgument(
                "parameters", f"make a volume_context of {size} bytes, CSI allows {MAX_CONTEXT_BYTES}"
            )
        return context


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim.

    Attributes:
        namespace: where it lives.
        name: its name there.
        uid: which one of that name; None where it isn't known.

    """

    namespace: str
    name: str
    uid: str | None = None

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str], volume_name: str) -> "Claim | None":
        """Find the claim that CreateVolume is called for; None if the call doesn't tell.

        Args:
            parameters: among them external-provisioner's ``csi.storage.k8s.io/pvc/…`` (``--extra-create-metadata``).
            volume_name: ``pvc-<uid>``, as external-provisioner makes it.

        """
        namespace, name = (parameters.get(f"{PROVISIONER_PREFIX}pvc/{what}", "") for what in ("namespace", "name"))
        if not OBJECT_NAME.match(namespace) or not OBJECT_NAME.match(name):
            return None
        uid = _UID.match(volume_name)
        return cls(namespace, name, uid[1] if uid else None)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class VolumeRecord:
    """The controller's durable record of a volume; never changes once written.

    Attributes:
        volume_id: what CSI calls it.
        name: CreateVolume's name.
        spec: what was asked.
        capabilities: what was asked.
        capacity: bytes answered to CreateVolume: the larger of the request and the model.
        manifest: the Revision's files.
        claim: whom it was made for, to tell people; None if nobody knows.

    """

    volume_id: str
    name: str
    spec: VolumeSpec
    capabilities: tuple[Capability, ...]
    capacity: int
    manifest: Manifest
    claim: Claim | None = None

    def context(self) -> dict[str, str]:
        """Render the volume_context that CreateVolume answers: the spec's, and the revision."""
        return {**self.spec.context(), REVISION_KEY: self.manifest.digest}


def revision_of(context: Mapping[str, str]) -> str | None:
    """Return the Manifest digest that a volume_context expects; None if it expects none.

    Raises:
        InvalidArgument: it is no digest.

    """
    revision = context.get(REVISION_KEY)
    if revision is not None and not _REVISION.match(revision):
        raise InvalidArgument(
            f"volume_context.{REVISION_KEY}", f"{revision[:80]!r} is no manifest digest of 64 hexadecimal digits"
        )
    return revision


def check_revision(context: Mapping[str, str], manifest: Manifest) -> None:
    """Refuse a manifest that isn't the one which a volume_context expects, if it expects one.

    Raises:
        InvalidArgument: it is another one, or what is expected is no digest.

    """
    revision = revision_of(context)
    if revision is not None and revision != manifest.digest:
        raise InvalidArgument(
            f"volume_context.{REVISION_KEY}",
            f"is {revision}, what the source has now is {manifest.digest}: the model was changed; a new volume gets "
            "the new revision, a source with versioning keeps the old one",
        )


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
    if size > _MAX_NAME_BYTES:
        raise InvalidArgument("name", f"has more than {_MAX_NAME_BYTES} bytes")
    if any(ord(char) in _FORBIDDEN_IN_NAME for char in name):
        raise InvalidArgument("name", "has control characters, which the CSI spec forbids")


def volume_id_of(name: str) -> str:
    """Return the volume id for a name: unique per PV, and never the digest of what it holds.

    Two PVs with one handle would be one volume to kubelet, and a pod with both would wait for ever.
    """
    return "m-" + hashlib.sha256(name.encode()).hexdigest()[:40]
