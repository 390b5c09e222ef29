"""Volume: an id and the Revision it refers to, for ever. This module owns parameters ↔ volume_context.

A StorageClass's parameters become a :class:`VolumeSpec`; the spec becomes the volume_context that every later call
carries. The context names the place; the manifest digest in it (``revision``) is what its reader expects to find, not
where to find it: what a volume *is* stands in its VolumeRecord, which only the driver writes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from csi_model.core.capability import Capability
from csi_model.core.changes import PROVISIONER_PREFIX, check_bringable, read_changes
from csi_model.core.fields import FIELDS, LASTING, Auth, attribute_of, parse_fields, render_fields
from csi_model.core.globs import Selection
from csi_model.core.manifest import Manifest
from csi_model.core.placement import Placement, Wants
from csi_model.core.reference import Reference
from csi_model.core.templates import OBJECT_NAME, Annotations, expand, uses_annotations
from csi_model.errors import InvalidArgument

SCHEMA = "1"
"""Version of the volume_context, also of one that doesn't say (people write those of static PVs and inline volumes); a
node refuses one that it doesn't know instead of guessing."""
SCHEMA_KEY = "schema"
REVISION_KEY = "revision"
"""The Manifest digest that the context's author expects. Bytes are never looked up by it."""
ALLOWED_SOURCES = "allowedSources"
MAX_CONTEXT_BYTES = 4096  # CSI spec, "Size Limits": map<string, string> is 4 KiB in total
_REVISION = re.compile(r"[0-9a-f]{64}\Z")
_REVISION_BYTES = len(REVISION_KEY) + 64
_UID = re.compile(r"pvc-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\Z")  # external-provisioner's names of volumes


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
        placement: how its pods are steered.
        warm_replicas: nodes to stage it on ahead of pods, at first; :data:`csi_model.core.placement.ALL` for all.
        warm_node_selector: labels that such a node has to have, at first.
        pin: evicted only when nothing else can go, at first.
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
    placement: Placement = Placement.PREFER
    warm_replicas: int = 0
    warm_node_selector: tuple[tuple[str, str], ...] = ()
    pin: bool = False
    from_claim: bool = False

    @property
    def wants(self) -> Wants:
        """What the volume wants of the cluster at first."""
        return Wants(self.warm_replicas, self.warm_node_selector, self.pin)

    @property
    def fixed(self) -> "VolumeSpec":
        """The spec without what can be changed while the volume lives."""
        return replace(self, warm_replicas=0, warm_node_selector=(), pin=False)

    @classmethod
    def from_parameters(
        cls,
        parameters: Mapping[str, str],
        mutable: Mapping[str, str] | None = None,
        *,
        annotations: Annotations | None = None,
        made: Reference | None = None,
    ) -> "VolumeSpec":
        """Parse StorageClass parameters.

        Args:
            parameters: as CreateVolume gets them; keys under ``csi.storage.k8s.io/`` name the claim and the PV.
            mutable: mutable parameters, which take precedence.
            annotations: looks the claim's annotations up; None where nobody can.
            made: the source of the volume, if it exists: annotations that were changed since then say nothing of it.

        Raises:
            InvalidArgument: a parameter is unknown (the nearest name is suggested), missing or malformed, a template
                names what the call doesn't carry, the source isn't covered by ``allowedSources``, or copies are
                wanted that nobody could make.
            ClaimIncomplete: the claim lacks the annotation that the source uses.

        """
        own = {key: value for key, value in parameters.items() if not key.startswith(PROVISIONER_PREFIX)}
        found = parse_fields(own, tuple(FIELDS), where="parameters") | read_changes(mutable or {})
        template, globs = found.pop("source"), found.pop(attribute_of(ALLOWED_SOURCES), ())
        if made is not None and uses_annotations(template):
            source, from_claim = made, True
        else:
            text, from_claim = expand(template, parameters, annotations)
            source = Reference.parse(text, field="parameters.source")
        _check_source(source, globs, parameters, needed=uses_annotations(template))
        spec = cls(source, **found, from_claim=from_claim)
        check_bringable(spec.auth, spec.wants, spec.placement, where="parameters")
        return spec

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
        own = {key: value for key, value in context.items() if key in LASTING}
        values = parse_fields(own, where="volume_context")
        return cls(Reference.parse(values.pop("source"), field="volume_context.source"), **values)

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, str]) -> "VolumeSpec":
        """Parse the ``volumeAttributes`` that people wrote, where a misspelt name has to be told.

        Args:
            attributes: of a static PersistentVolume or an inline volume; names with a slash are others' additions.

        Raises:
            InvalidArgument: a name is unknown (the nearest one is suggested), copies are wanted that nobody could
                make, or as :meth:`from_context`.

        """
        own = {k: v for k, v in attributes.items() if "/" not in k and k not in (SCHEMA_KEY, REVISION_KEY)}
        parse_fields(own, where="volumeAttributes")
        spec = cls.from_context(attributes)
        check_bringable(spec.auth, spec.wants, spec.placement, where="volumeAttributes")
        return spec

    def context(self) -> dict[str, str]:
        """Render the volume_context without its revision: only what differs from a default, so that it stays small.

        Raises:
            InvalidArgument: it would be larger than CSI allows.

        """
        names = {attribute_of(name) for name in LASTING}
        own = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        differing = {name: value for name, value in own.items() if name in names}
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
    """The controller's durable record of a volume; of what is written nothing but ``wants`` ever changes.

    Attributes:
        volume_id: what CSI calls it.
        name: CreateVolume's name.
        spec: what was asked.
        capabilities: what was asked.
        capacity: bytes answered to CreateVolume: the larger of the request and the model.
        manifest: the Revision's files.
        claim: whom it was made for, to tell people; None if nobody knows.
        wants: what was said anew since it was made; None if nothing was.

    """

    volume_id: str
    name: str
    spec: VolumeSpec
    capabilities: tuple[Capability, ...]
    capacity: int
    manifest: Manifest
    claim: Claim | None = None
    wants: Wants | None = None

    @property
    def wanted(self) -> Wants:
        """What the volume wants of the cluster now."""
        return self.spec.wants if self.wants is None else self.wants

    def wanting(self, wants: Wants) -> "VolumeRecord":
        """Return the record after a change of what the volume wants."""
        return replace(self, wants=None if wants == self.spec.wants else wants)

    def context(self) -> dict[str, str]:
        """Render the volume_context that CreateVolume answers: the spec's, and the revision."""
        return {**self.spec.context(), REVISION_KEY: self.manifest.digest}


def _check_source(source: Reference, globs: Sequence[str], metadata: Mapping[str, str], *, needed: bool) -> None:
    field = f"parameters.{ALLOWED_SOURCES}"
    if not globs:
        if needed:
            raise InvalidArgument(
                field, "is missing: source uses an annotation, so say what a claim may name, e.g. s3://models/**"
            )
        return
    allowed = [expand(glob, metadata, field=field)[0] for glob in globs]
    if not Selection(include=allowed).admits(str(source)):
        raise InvalidArgument(
            "parameters.source", f"is {source} for this claim, its class allows only {', '.join(allowed)}"
        )


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
