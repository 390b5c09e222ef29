"""What CreateVolume asks for, checked, and how it compares with what there is. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from csi_model.core import capability
from csi_model.core.allow import covers
from csi_model.core.capability import Capability
from csi_model.core.fields import Auth
from csi_model.core.manifest import Manifest
from csi_model.core.naming import check_name, volume_id_of
from csi_model.core.reference import Reference
from csi_model.core.templates import Annotations
from csi_model.core.units import bytes_text
from csi_model.core.volume import Claim, VolumeRecord, VolumeSpec
from csi_model.errors import CapacityExceeded, InvalidArgument


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """CreateVolume's arguments, without the secrets. Equal requests may share one resolution.

    Attributes:
        name: the orchestrator's name.
        spec: the parameters, parsed.
        capabilities: at least one.
        required_bytes: the least capacity; 0 says nothing.
        limit_bytes: the greatest capacity; 0 says nothing.
        claim: whom it is for, if the call tells.

    """

    name: str
    spec: VolumeSpec
    capabilities: frozenset[Capability]
    required_bytes: int
    limit_bytes: int
    claim: Claim | None = None

    @classmethod
    def of(
        cls,
        *,
        name: str,
        parameters: Mapping[str, str],
        capabilities: Sequence[Capability],
        required_bytes: int,
        limit_bytes: int,
        mutable: Mapping[str, str] | None = None,
        annotations: Annotations | None = None,
        made: Reference | None = None,
    ) -> "VolumeRequest":
        """Check all that can be checked without asking the source.

        Args:
            name: the orchestrator's name.
            parameters: of the StorageClass.
            capabilities: at least one.
            required_bytes: as the attribute.
            limit_bytes: as the attribute.
            mutable: as :meth:`VolumeSpec.from_parameters` takes it.
            annotations: likewise.
            made: likewise.

        Raises:
            InvalidArgument: the name, a parameter or the capacity range can't be.
            ClaimIncomplete: the claim lacks the annotation that the source uses.
            UnsupportedCapability: a capability can't be.

        """
        check_name(name)
        capability.check_all(capabilities)
        if required_bytes < 0 or limit_bytes < 0:
            raise InvalidArgument("capacity_range", f"is below zero: required {required_bytes}, limit {limit_bytes}")
        if 0 < limit_bytes < required_bytes:
            raise InvalidArgument("capacity_range", f"requires {required_bytes} bytes and limits to {limit_bytes}")
        spec = VolumeSpec.from_parameters(parameters, mutable, annotations=annotations, made=made)
        spec.context()  # refuses what is too large for CSI now, not after minutes of listing
        claim = Claim.from_parameters(parameters, name)
        return cls(name, spec, frozenset(capabilities), required_bytes, limit_bytes, claim)

    @property
    def volume_id(self) -> str:
        """The id that the volume has or will have."""
        return volume_id_of(self.name)

    def record(self, manifest: Manifest) -> VolumeRecord:
        """Make the record of a volume that is this request, resolved.

        Raises:
            CapacityExceeded: the model is larger than the limit.

        """
        if 0 < self.limit_bytes < manifest.size:
            raise CapacityExceeded(
                f"{self.spec.source} has {bytes_text(manifest.size)} ({manifest.size} bytes), the claim's limit is "
                f"{bytes_text(self.limit_bytes)} ({self.limit_bytes} bytes): raise it, or choose files with include"
            )
        capacity = max(self.required_bytes, manifest.size)
        capabilities = tuple(sorted(self.capabilities, key=repr))  # one form whatever order was asked in
        return VolumeRecord(self.volume_id, self.name, self.spec, capabilities, capacity, manifest, self.claim)

    def difference(self, record: VolumeRecord) -> str:
        """Tell what keeps a record from being what is asked for; "" if nothing does."""
        if record.spec != self.spec:
            return f"other parameters: {_difference(record.spec, self.spec)}"
        if frozenset(record.capabilities) != self.capabilities:
            return "other capabilities (access mode, file system or mount options)"
        if record.capacity < self.required_bytes:
            return f"a capacity of {record.capacity} bytes, asked for are at least {self.required_bytes}"
        if 0 < self.limit_bytes < record.capacity:
            return f"a capacity of {record.capacity} bytes, asked for are at most {self.limit_bytes}"
        return ""


def check_ambient(spec: VolumeSpec, allowed: Sequence[str]) -> None:
    """Refuse the driver's own rights for what a claim's own words name, unless the administrator allowed it.

    Raises:
        InvalidArgument: ``auth`` is ``ambient``, the source was made from the claim, and no glob covers it.

    """
    if spec.auth != Auth.AMBIENT or not spec.from_claim:
        return
    if not covers(allowed, spec):
        raise InvalidArgument(
            "parameters.auth",
            f"is ambient, and the claim's own words made {spec.source}: whoever makes a claim could read all that the "
            "driver can; use auth: secret, or let the class's allowedSources or the driver's ambient_allow cover it",
        )


def _difference(there: VolumeSpec, asked: VolumeSpec) -> str:
    old, new = there.context(), asked.context()
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    words = [f"{name} is {old.get(name, 'the default')}, not {new.get(name, 'the default')}" for name in names]
    return "; ".join(words) or "source has other variables"
