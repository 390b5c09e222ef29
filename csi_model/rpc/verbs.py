"""What the servicers call: the verbs of the controller, of the node and of the store's keeper, without gRPC types.

The implementations live in :mod:`csi_model.volumes`, :mod:`csi_model.node` and the composition root. They raise types
of :mod:`csi_model.errors` on purpose; anything else that leaves them is taken for a bug and answered INTERNAL.
All are called from many threads at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from csi_model.core.capability import Capability
from csi_model.core.volume import VolumeRecord
from csi_model.node.requests import PublishRequest, StageRequest, Usage


class VolumeVerbs(Protocol):
    """The controller's verbs."""

    def create(
        self,
        *,
        name: str,
        parameters: Mapping[str, str],
        mutable: Mapping[str, str],
        capabilities: Sequence[Capability],
        required_bytes: int,
        limit_bytes: int,
        secrets: Mapping[str, str],
        timeout: float,
    ) -> VolumeRecord:
        """Make a volume, or find the one that the same call made before.

        Args:
            name: the orchestrator's name for it, the key of idempotency.
            parameters: of the StorageClass.
            mutable: of the VolumeAttributesClass; they take precedence.
            capabilities: at least one.
            required_bytes: the least capacity; 0 says nothing.
            limit_bytes: the greatest capacity; 0 says nothing.
            secrets: of this call; never stored.
            timeout: seconds to wait at most. The work goes on after it, and the next call of this name joins it.

        Raises:
            InProgress: it isn't done after ``timeout``.
            InvalidArgument, UnsupportedCapability: what was asked can't be.
            ClaimIncomplete: the claim lacks what its class takes from it.
            VolumeExists: a volume of this name was made from other arguments.
            CapacityExceeded: the model is larger than ``limit_bytes``.
            SourceError: the source can't be resolved.

        """

    def delete(self, volume_id: str) -> None:
        """Forget a volume; one that isn't known is no error, whatever its id looks like."""

    def modify(self, volume_id: str, mutable: Mapping[str, str]) -> None:
        """Change what a volume wants; what isn't named stays as it is.

        Raises:
            VolumeNotFound: there is none.
            InvalidArgument: something of it can't be; then nothing is changed.

        """

    def get(self, volume_id: str) -> VolumeRecord:
        """Return a volume.

        Raises:
            VolumeNotFound: there is none.

        """

    def page(self, *, token: str, limit: int) -> tuple[list[VolumeRecord], str]:
        """Return volumes, and the token of those that follow ("" at the end).

        Args:
            token: of an earlier answer; "" to begin.
            limit: at most so many; 0 for as many as the implementation likes.

        Raises:
            InvalidToken: the token is not one of ours.

        """

    def validate(
        self,
        volume_id: str,
        *,
        capabilities: Sequence[Capability],
        context: Mapping[str, str],
        parameters: Mapping[str, str],
        mutable: Mapping[str, str],
    ) -> str:
        """Tell why a volume can't do all that is asked; "" if it can.

        Raises:
            VolumeNotFound: there is no such volume.

        """


class NodeVerbs(Protocol):
    """The node's verbs; all are idempotent."""

    def stage(self, request: StageRequest, *, timeout: float) -> None:
        """Make sure that the whole verified copy is on this node's disk.

        Args:
            request: what to stage.
            timeout: seconds to wait at most; the work goes on after it, and the next call joins it.

        Raises:
            InProgress: it isn't done after ``timeout``; the text tells the progress.
            VolumeExists: staged already at this path with another capability.
            VolumeNotFound, SourceError, StoreFull, StoreUnusable: as their names say.

        """

    def unstage(self, volume_id: str, staging_path: Path) -> None:
        """Undo :meth:`stage`, also while it runs; what isn't staged is no error.

        Raises:
            TargetInUse: the volume is still published.

        """

    def publish(self, request: PublishRequest) -> None:
        """Show a staged volume, read-only, at a target path.

        Raises:
            NotStaged: :meth:`stage` hasn't succeeded for this volume.
            VolumeExists: published at this target with other arguments.
            TargetInUse: the access mode allows one target, and there is another.
            MountFailed: the kernel refused.

        """

    def publish_inline(self, request: PublishRequest, *, timeout: float) -> None:
        """Bring the model that a pod itself names, and show it, read-only, at a target path.

        Args:
            request: what to publish.
            timeout: seconds to wait at most; the work goes on after it, and the next call joins it.

        Raises:
            InProgress: it isn't done after ``timeout``; the text tells the progress.
            InvalidArgument: the pod's words are malformed, or name what no administrator allowed.
            VolumeExists: published with other arguments.
            SourceError, StoreFull, StoreUnusable, MountFailed: as their names say.

        """

    def unpublish(self, volume_id: str, target_path: Path) -> None:
        """Undo :meth:`publish` or :meth:`publish_inline` and remove the target; what isn't published is no error."""

    def stats(self, volume_id: str, path: Path) -> Usage:
        """Tell a volume's size in constant time.

        Raises:
            VolumeNotFound: this volume is neither published nor staged at this path.

        """


class Keeper(Protocol):
    """Looks after a node's store for its administrator; all values are what JSON can say."""

    def status(self) -> dict[str, Any]:
        """Tell what the store holds and what is going on."""

    def verify(self, manifest: str | None) -> Iterator[dict[str, Any]]:
        """Read staged copies again and compare them with their digests, yielding an event per finding.

        Args:
            manifest: the manifest digest (or its beginning) of the one to verify; None for all.

        Raises:
            InvalidArgument: nothing, or more than one thing, has this digest.

        """

    def evict(self, target: str, *, dry_run: bool) -> dict[str, Any]:
        """Remove a copy that no volume holds, and tell what was (or would be) freed.

        Raises:
            InvalidArgument: nothing, or more than one thing, is called so.

        """
