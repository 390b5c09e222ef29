"""The one table of errors: situation, type, gRPC code, and what the text tells whom.

``python -m csi_model.rpc.codes > docs/errors.md`` renders it.

Two readings of a code decide. For kubelet, a code in :data:`UNCERTAIN` means that something may have been left behind:
it tries again and calls NodeUnstageVolume (NodeUnpublishVolume) if the pod goes away first; any other code means
that nothing was, so whoever raises such a type has to clean up first. For external-provisioner, the codes in
:data:`UNCERTAIN` except RESOURCE_EXHAUSTED mean "still in progress, the same call again", INVALID_ARGUMENT means
"wait minutes, only its author can mend it", and anything else is an ordinary failure.
"""

import sys
from dataclasses import dataclass

import grpc

from csi_model import errors

Code = grpc.StatusCode
UNCERTAIN = frozenset({Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.ABORTED})
"""The codes after which kubelet takes a volume for half staged (half published)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        error: the type; looked up along its ancestors, so a type of another module has its parent's row.
        code: what the caller gets.
        situation: when it is raised.
        tells: what the text tells the one who acts.
        node_code: what NodeStageVolume and NodePublishVolume answer instead, where the specification wants it.

    """

    error: type[errors.CsiModelError]
    code: grpc.StatusCode
    situation: str
    tells: str
    node_code: grpc.StatusCode | None = None


TABLE = (
    Row(
        errors.InvalidArgument,
        Code.INVALID_ARGUMENT,
        "a field or parameter is missing, malformed or unknown",
        "the field, what is wrong with it, what is allowed, and the nearest name",
    ),
    # Not INVALID_ARGUMENT: external-provisioner comes back soon after any other code, and its author may be writing it.
    Row(
        errors.ClaimIncomplete,
        Code.FAILED_PRECONDITION,
        "the claim lacks the annotation that its StorageClass takes the model from, or is gone",
        "the claim and the annotation",
    ),
    Row(
        errors.UnsupportedCapability,
        Code.INVALID_ARGUMENT,
        "block access, writers on many nodes, or a mount option that isn't allowed",
        "the reason, and what to use instead",
        node_code=Code.FAILED_PRECONDITION,
    ),
    Row(
        errors.VolumeExists,
        Code.ALREADY_EXISTS,
        "the same name, staging path or target path was used with other arguments",
        "what differs",
    ),
    Row(
        errors.VolumeNotFound,
        Code.NOT_FOUND,
        "no volume has this id, or nothing is published at this path",
        "the id or the path",
    ),
    Row(
        errors.CapacityExceeded,
        Code.OUT_OF_RANGE,
        "the model is larger than the claim's limit, or than what the driver can describe",
        "the model's size and the limit",
    ),
    Row(
        errors.NotStaged,
        Code.FAILED_PRECONDITION,
        "NodePublishVolume without a NodeStageVolume that succeeded",
        "the volume, and that it has to be staged first",
    ),
    Row(
        errors.TargetInUse,
        Code.FAILED_PRECONDITION,
        "a second target for a volume whose access mode allows one, or unstaging a volume that is still published",
        "the target that has it",
    ),
    Row(
        errors.SourceNotFound,
        Code.NOT_FOUND,
        "nothing lies under the reference, or include and exclude leave nothing",
        "the reference, and what lies nearby",
    ),
    Row(
        errors.SourceDenied,
        Code.PERMISSION_DENIED,
        "the credentials are known and may not list or read it",
        "the right that is missing, and where",
    ),
    Row(
        errors.SourceUnauthenticated,
        Code.UNAUTHENTICATED,
        "credentials are missing, unknown or expired",
        "which credentials, and where they are set",
    ),
    Row(
        errors.SourceChanged,
        Code.FAILED_PRECONDITION,
        "the source no longer has the bytes that the volume pins",
        "the file, and that a new claim gets the new revision (or that versioning keeps the old one)",
    ),
    # Final on purpose: the bytes were fetched again before this is raised, so the source itself is damaged, and the
    # store keeps nothing of them that a NodeUnstageVolume would have to clean.
    Row(
        errors.SourceCorrupt,
        Code.DATA_LOSS,
        "the bytes don't match the source's own checksum, also when fetched again",
        "the file and both checksums",
    ),
    Row(
        errors.SourceInvalid,
        Code.FAILED_PRECONDITION,
        "the source says something impossible or hostile (paths, sizes, counts)",
        "what it said",
    ),
    Row(
        errors.SourceUnavailable,
        Code.UNAVAILABLE,
        "the source is unreachable, stalls, breaks off or fails",
        "the address and what happened; what has arrived is kept",
    ),
    Row(
        errors.SourceBusy,
        Code.UNAVAILABLE,
        "the source asks to slow down, longer than the driver's own patience",
        "what it asked for",
    ),
    Row(
        errors.StoreFull,
        Code.RESOURCE_EXHAUSTED,
        "not enough disk for the copy, after evicting all that nothing holds",
        "how much is missing, how much is free, and what could be evicted",
    ),
    # UNAVAILABLE, not INTERNAL: an agent that can't write its store can't end a hold either, so kubelet has to
    # remember that NodeUnstageVolume is still to be called.
    Row(
        errors.StoreLocked,
        Code.UNAVAILABLE,
        "another agent owns the store (or listens on the socket)",
        "which, and that it has to end first",
    ),
    Row(
        errors.StoreUnusable,
        Code.UNAVAILABLE,
        "the store isn't mounted, has an unknown layout, or answers with I/O errors; or the records of volumes can't "
        "be read or written: a damaged one, a Kubernetes API that doesn't answer or refuses",
        "the path and the system's own words, or the record and what the API says, with the right that is missing",
    ),
    # Final: a refused mount leaves nothing mounted, and an unmount is tried again after any code.
    Row(
        errors.MountFailed,
        Code.INTERNAL,
        "the kernel refused a mount or an unmount",
        "the path and the system's own words",
    ),
    Row(
        errors.InProgress,
        Code.ABORTED,
        "the work goes on in the background and the call's time is up",
        "how far it is, how fast, and how long it will take",
    ),
    Row(
        errors.RecordPending,
        Code.UNAVAILABLE,
        "the volume has no ModelVolume: a static PV that the controller didn't resolve yet, or a record that was lost",
        "which ModelVolume is missing, and where the controller says why",
    ),
    Row(
        errors.TooManyCalls,
        Code.ABORTED,
        "all places for calls that wait are taken",
        "that the same call will be served later",
    ),
    Row(
        errors.InvalidToken,
        Code.ABORTED,
        "ListVolumes got a token that this driver did not issue",
        "that the listing has to begin anew",
    ),
)
_ROWS = {row.error: row for row in TABLE}
_ACTS = {
    errors.VolumeSpecError: "the author of the StorageClass, claim or request",
    errors.SourceError: "the owner of the source",
    errors.NodeError: "the node's administrator",
    errors.TryAgain: "nobody",
}


def row_of(error: errors.CsiModelError) -> Row | None:
    """Return the row of an error's type or of its nearest ancestor; None for one that should not be raised at all."""
    return next((_ROWS[kind] for kind in type(error).__mro__ if kind in _ROWS), None)


def code_of(row: Row, method: str) -> grpc.StatusCode:
    """Return the code that a method answers.

    Args:
        row: of the error.
        method: the RPC's name without its service.

    """
    if method == "Probe":  # the specification's one word for a plugin that isn't well
        return Code.FAILED_PRECONDITION
    if row.node_code is not None and method in ("NodeStageVolume", "NodePublishVolume"):
        return row.node_code
    return row.code


_HEAD = """\
# Errors

<!-- Rendered from csi_model/rpc/codes.py: `python -m csi_model.rpc.codes > docs/errors.md` -->

What went wrong decides the type of an error, and the type decides the gRPC code: this table is the only place where
the two meet. The text goes word for word into the events of the pod or claim, so it names the thing, what is wrong
and what to do, and holds no secret.

*kubelet*: after an `uncertain` code kubelet takes the volume for half staged: it tries again, and calls
NodeUnstageVolume if the pod goes away first. After a `final` one it forgets the volume and tries anew, so the driver
has released whatever it held before it answers. Both are tried again, after a pause of 0.5 s that doubles up to 122 s.

| When | Type | gRPC code | kubelet | The text tells | Who acts |
|---|---|---|---|---|---|
"""
_TAIL = """
Besides:

- Anything else that goes wrong is a bug: `INTERNAL`, with the name of the call to look for in the driver's log, where
  the traceback is (without the secrets of the call). Never `UNKNOWN`.
- `Probe` answers `FAILED_PRECONDITION` whatever the reason for not being well.
- Calls of the specification that a model volume has no use for: `UNIMPLEMENTED`.
"""


def render() -> str:
    """Render the table for docs/errors.md."""
    return _HEAD + "".join(_line(row) for row in TABLE) + _TAIL


def _line(row: Row) -> str:
    code = f"`{row.code.name}`"
    if row.node_code is not None:
        code += f", on the node `{row.node_code.name}`"
    acts = next(who for group, who in _ACTS.items() if issubclass(row.error, group))
    after = "uncertain" if row.code in UNCERTAIN else "final"
    return f"| {row.situation} | `{row.error.__name__}` | {code} | {after} | {row.tells} | {acts} |\n"


if __name__ == "__main__":
    sys.stdout.write(render())
