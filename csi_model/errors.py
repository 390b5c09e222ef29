"""Every error that the driver raises on purpose, by who has to act.

::

    CsiModelError
    ├── VolumeSpecError          the author of the StorageClass, claim or request
    │   ├── InvalidArgument          a field is missing, malformed or unknown
    │   ├── ClaimIncomplete          the claim lacks what its class takes from it
    │   ├── UnsupportedCapability    an access mode or type that a model volume can't have
    │   ├── VolumeExists             the same name or target with other arguments
    │   ├── VolumeNotFound           no volume has this id
    │   ├── CapacityExceeded         the model is larger than the claim's limit
    │   ├── NotStaged                a call that needs an earlier one first
    │   └── TargetInUse              a single-node-single-writer volume has another target
    ├── SourceError              the owner of the bucket, repository or server
    │   ├── SourceNotFound           nothing lies under the reference
    │   ├── SourceDenied             the credentials may not read it
    │   ├── SourceUnauthenticated    credentials are missing, unknown or expired
    │   ├── SourceChanged            the source no longer has what the Revision pins
    │   ├── SourceCorrupt            bytes don't match what the source said about them
    │   ├── SourceInvalid            the source says something impossible (paths, sizes, counts)
    │   └── SourceUnavailable        unreachable, stalled, truncated: worth another try
    │       └── SourceBusy               it asked us to slow down (429, 503)
    ├── NodeError                the node's administrator
    │   ├── StoreFull                not enough disk, even after eviction
    │   ├── StoreLocked              another agent owns the store
    │   ├── StoreUnusable            not mounted, unknown layout, I/O errors
    │   └── MountFailed              the kernel refused a mount or an unmount
    └── TryAgain                 nobody: the same call later
        ├── InProgress               the work goes on in the background
        ├── RecordPending            the volume's record isn't there yet: the controller makes it
        ├── TooManyCalls             all slots for waiting calls are taken
        └── InvalidToken             a paging token that this driver did not issue

Retry code asks the type, never the text. The gRPC code of each is in :mod:`csi_model.rpc.codes`.
The text is shown to people in pod and claim events: it names the thing, what is wrong and what to do, and holds
no secret and no signed URL.
"""

from typing import ClassVar


class CsiModelError(Exception):
    """Base of all errors raised on purpose.

    Attributes:
        transient: whether the same call may succeed later with nobody acting on it. Kubelet keeps a volume's state
            and unstages it after a transient error; after a final one it forgets the volume, so what was kept for
            it must be released.

    """

    transient: ClassVar[bool] = False


class VolumeSpecError(CsiModelError):
    """What was asked can't be done as written; the author of the StorageClass, claim or request acts."""


class InvalidArgument(VolumeSpecError):
    """A field is missing, malformed or unknown.

    Args:
        field: the field's name as its author wrote it (``parameters.endpoint``, ``volume_id``).
        problem: what is wrong and how to mend it, in words that follow the field's name.

    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class ClaimIncomplete(VolumeSpecError):
    """The claim lacks what its class takes from it, such as an annotation; once it has it, the same call succeeds."""


class UnsupportedCapability(VolumeSpecError):
    """An access mode, access type or mount flag that a read-only model volume can't have."""


class VolumeExists(VolumeSpecError):
    """The same name, staging path or target is taken with other arguments."""


class VolumeNotFound(VolumeSpecError):
    """No volume has this id, or nothing is published at this path."""


class CapacityExceeded(VolumeSpecError):
    """The model is larger than the limit of the claim."""


class NotStaged(VolumeSpecError):
    """A call that needs an earlier one first (publish before stage)."""


class TargetInUse(VolumeSpecError):
    """A SINGLE_NODE_SINGLE_WRITER volume is published at another target already."""


class SourceError(CsiModelError):
    """The source can't or won't give what was asked; its owner acts."""


class SourceNotFound(SourceError):
    """Nothing lies under the reference."""


class SourceDenied(SourceError):
    """The credentials are known and may not read this."""


class SourceUnauthenticated(SourceError):
    """Credentials are missing, unknown or expired."""


class SourceChanged(SourceError):
    """The source no longer has the bytes that the Revision pins (If-Match failed, version deleted)."""


class SourceCorrupt(SourceError):
    """The bytes that arrived don't match what the source said about them."""


class SourceInvalid(SourceError):
    """The source says something impossible or hostile: a path that escapes, a size below zero, too many files."""


class SourceUnavailable(SourceError):
    """Unreachable, stalled, reset or truncated; the same request may work later."""

    transient = True


class SourceBusy(SourceUnavailable):
    """The source asked us to slow down.

    Args:
        message: what it said.
        retry_after: seconds to wait before the next request; None if it didn't say.

    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NodeError(CsiModelError):
    """The node can't do it; its administrator acts."""


class StoreFull(NodeError):
    """Not enough disk for the copy, even after evicting all that nothing holds.

    Args:
        needed: bytes asked for.
        free: bytes that could be given now, watermark kept.
        evictable: bytes that eviction could still free (held copies are not counted).

    """

    transient = True

    def __init__(self, message: str, *, needed: int = 0, free: int = 0, evictable: int = 0) -> None:
        super().__init__(message)
        self.needed = needed
        self.free = free
        self.evictable = evictable


class StoreLocked(NodeError):
    """Another agent owns the store."""

    transient = True


class StoreUnusable(NodeError):
    """The store's filesystem is not mounted, its layout is unknown, or it answers with I/O errors.

    Also what keeps the records of volumes: a directory, or the Kubernetes API (:mod:`csi_model.cluster.errors`).
    """

    transient = True


class MountFailed(NodeError):
    """The kernel refused a mount or an unmount."""


class TryAgain(CsiModelError):
    """Nobody has to act: the same call later."""

    transient = True


class InProgress(TryAgain):
    """The work goes on in the background; the text says how far it is."""


class RecordPending(TryAgain):
    """The record of a volume isn't there yet; the controller makes it when it sees the PersistentVolume."""


class TooManyCalls(TryAgain):
    """All slots for calls that wait are taken."""


class InvalidToken(TryAgain):
    """A paging token that this driver did not issue."""
