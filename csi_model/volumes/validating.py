"""Whether a volume is what somebody takes it for. No I/O."""

from collections.abc import Mapping, Sequence

from csi_model.core import capability
from csi_model.core.capability import Capability
from csi_model.core.changes import change, in_words
from csi_model.core.fields import LASTING
from csi_model.core.volume import REVISION_KEY, SCHEMA, SCHEMA_KEY, VolumeRecord, VolumeSpec
from csi_model.errors import InvalidArgument, UnsupportedCapability


def misfit(
    record: VolumeRecord,
    capabilities: Sequence[Capability],
    context: Mapping[str, str],
    parameters: Mapping[str, str],
    mutable: Mapping[str, str],
) -> str:
    """Tell why a volume isn't, or can't do, all that is asked; "" if it is and can.

    Args:
        record: of the volume.
        capabilities: at least one.
        context: its volume_context as the caller knows it; empty if the caller doesn't say.
        parameters: what it was made from, likewise. What an annotation said then, nobody knows now: what the volume
            has is taken for right there.
        mutable: what was said of it then or later, likewise.

    Raises:
        InvalidArgument: there are no capabilities, or one has no access mode.

    """
    try:
        capability.check_all(capabilities)
    except UnsupportedCapability as error:
        return str(error)
    own = {key: value for key, value in context.items() if key in (SCHEMA_KEY, REVISION_KEY, *LASTING)}
    if own and {SCHEMA_KEY: SCHEMA, REVISION_KEY: record.manifest.digest, **own} != record.context():
        return f"the volume_context is not that of volume {record.volume_id}"
    try:
        return _other(record, parameters, mutable)
    except InvalidArgument as error:
        return str(error)


def _other(record: VolumeRecord, parameters: Mapping[str, str], mutable: Mapping[str, str]) -> str:
    wants = change(record.wanted, mutable)
    if parameters:
        spec = VolumeSpec.from_parameters(parameters, mutable, made=record.spec.source)
        if spec.fixed != record.spec.fixed:
            return f"volume {record.volume_id} was made from other parameters"
        wants = spec.wants
    if wants not in (record.wanted, record.spec.wants):
        return f"volume {record.volume_id} has {in_words(record.wanted)}, not {in_words(wants)}"
    return ""
