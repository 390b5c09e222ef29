"""Volumes: the controller's verbs, idempotent, over a registry. No weights are moved here."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

from csi_model.core.allow import check_sources
from csi_model.core.capability import Capability
from csi_model.core.changes import MUTABLE, change, check_bringable, in_words
from csi_model.core.globs import Selection
from csi_model.core.manifest import Manifest
from csi_model.core.naming import check_name, volume_id_of
from csi_model.core.templates import Annotations, uses_annotations
from csi_model.core.volume import ALLOWED_SOURCES, Claim, VolumeRecord, VolumeSpec
from csi_model.errors import InvalidArgument, StoreUnusable, VolumeExists, VolumeNotFound
from csi_model.sources.base import Source
from csi_model.volumes.registry import VolumeRegistry
from csi_model.volumes.request import VolumeRequest, check_ambient
from csi_model.volumes.resolutions import Resolutions
from csi_model.volumes.tokens import id_of, token_of
from csi_model.volumes.validating import misfit

log = logging.getLogger(__name__)

OpenSource = Callable[[VolumeSpec, Mapping[str, str]], Source]
_STOPPING = 2.0  # seconds


class Volumes:
    """Creates, deletes, lists and validates volumes. Safe to use from many threads.

    Args:
        registry: remembers them.
        open_source: opens a volume's source with the given CSI secrets.
        ambient_allow: globs of references that ``auth: ambient`` may read although a claim's own words made them.
        annotations: looks a claim's annotations up; raises ClaimIncomplete if there is no such claim. None where
            nobody can.

    Raises:
        InvalidArgument: a glob of ``ambient_allow`` is malformed.

    """

    def __init__(
        self,
        registry: VolumeRegistry,
        open_source: OpenSource,
        *,
        ambient_allow: Sequence[str] = (),
        annotations: Callable[[Claim], Mapping[str, str]] | None = None,
    ) -> None:
        check_sources(ambient_allow, "ambient_allow")
        self._registry = registry
        self._open_source = open_source
        self._ambient_allow = tuple(ambient_allow)
        self._annotations = annotations
        self._resolutions = Resolutions(self._resolve, self._keep)

    def close(self) -> None:
        """Wait two seconds for running listings, and give up the others: the same calls begin them anew."""
        self._resolutions.close(timeout=_STOPPING)

    def create(
        self,
        *,
        name: str,
        parameters: Mapping[str, str],
        mutable: Mapping[str, str] | None = None,
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
            secrets: of this call; in memory while the source is listed, never stored.
            timeout: seconds to wait at most. The listing goes on after it, and the next call of this name joins it.

        Raises:
            InProgress, TooManyCalls: it isn't done; the same call later.
            InvalidArgument, UnsupportedCapability: what was asked can't be.
            ClaimIncomplete: the claim lacks the annotation that the source uses.
            VolumeExists: a volume of this name was made from other arguments.
            CapacityExceeded: the model is larger than ``limit_bytes``, or its list of files than the registry can keep.
            SourceError: the source can't be resolved.
            StoreUnusable: the registry fails.

        """
        check_name(name)
        made = self._registry.get(volume_id_of(name)) if uses_annotations(parameters.get("source", "")) else None
        request = VolumeRequest.of(
            name=name,
            parameters=parameters,
            mutable=mutable,
            capabilities=capabilities,
            required_bytes=required_bytes,
            limit_bytes=limit_bytes,
            annotations=self._annotations_for(Claim.from_parameters(parameters, name)),
            made=None if made is None else made.spec.source,
        )
        if ALLOWED_SOURCES not in parameters:  # else that covers the source
            check_ambient(request.spec, self._ambient_allow)
        record = self._registry.get(request.volume_id)
        if record is not None:
            return _same(request, record)
        return self._resolutions.join(request, secrets, timeout=timeout)

    def _annotations_for(self, claim: Claim | None) -> Annotations | None:
        look_up = self._annotations
        if look_up is None:
            return None

        def annotations() -> Mapping[str, str]:
            if claim is None:
                raise InvalidArgument(
                    "parameters.source",
                    "uses an annotation, but the call doesn't say whose: run external-provisioner with "
                    "--extra-create-metadata",
                )
            return look_up(claim)

        return annotations

    def resolve(self, spec: VolumeSpec, secrets: Mapping[str, str]) -> Manifest:
        """List what a spec names, with the rights that it says, and keep nothing: for a volume that others keep.

        Raises:
            SourceError: it can't be listed.

        """
        with closing(self._open_source(spec, secrets)) as source:
            return source.resolve(spec.source, Selection(spec.include, spec.exclude))

    def _resolve(self, request: VolumeRequest, secrets: Mapping[str, str]) -> VolumeRecord:
        return request.record(self.resolve(request.spec, secrets))

    def _keep(self, request: VolumeRequest, record: VolumeRecord) -> VolumeRecord:
        try:
            self._registry.put(record)
        except VolumeExists:  # another process was faster, or this one between the look-up and the start
            existing = self._registry.get(request.volume_id)
            if existing is None:
                raise
            return _same(request, existing)
        log.info(
            "volume %s is %s, manifest %s: %d files, %d bytes",
            record.volume_id, record.spec.source, record.manifest.digest, record.manifest.files, record.manifest.size,
        )  # fmt: skip
        return record

    def delete(self, volume_id: str) -> None:
        """Forget a volume, also one that is still being made; one that isn't known is no error.

        Raises:
            StoreUnusable: the registry fails.

        """
        self._resolutions.cancel(volume_id)
        self._registry.delete(volume_id)

    def modify(self, volume_id: str, mutable: Mapping[str, str]) -> None:
        """Change what a volume wants; what isn't named stays as it is.

        Args:
            volume_id: of the volume.
            mutable: of the VolumeAttributesClass; nothing at all is no error.

        Raises:
            VolumeNotFound: there is no such volume.
            InvalidArgument: a parameter can't be changed, or is malformed, or nobody could do it; then nothing is.
            StoreUnusable: the registry fails.

        """
        record = self.get(volume_id)
        wants = change(record.wanted, mutable)
        check_bringable(record.spec.auth, wants, where=MUTABLE)
        if wants != record.wanted:
            self._registry.modify(volume_id, wants)
            log.info("volume %s wants %s now, not %s", volume_id, in_words(wants), in_words(record.wanted))

    def get(self, volume_id: str) -> VolumeRecord:
        """Return a volume.

        Raises:
            VolumeNotFound: there is none.
            StoreUnusable: the registry fails, or the record is damaged.

        """
        record = self._registry.get(volume_id)
        if record is None:
            raise VolumeNotFound(f"no volume has the id {volume_id[:128]!r}")
        return record

    def page(self, *, token: str, limit: int) -> tuple[list[VolumeRecord], str]:
        """Return volumes in the order of their ids, and the token of those that follow ("" at the end).

        Volumes that come and go between two pages don't disturb the others. A damaged record is logged and left
        out, so that it doesn't hide the rest.

        Args:
            token: of an earlier answer; "" to begin.
            limit: at most so many; 0 for all.

        Raises:
            InvalidToken: the token is not one of ours.
            InvalidArgument: the limit is below zero.
            StoreUnusable: the registry fails.

        """
        if limit < 0:
            raise InvalidArgument("max_entries", f"is {limit}: it counts entries, 0 for no limit")
        ids = self._registry.ids(after=id_of(token), limit=limit + 1 if limit else None)
        here = ids[:limit] if limit else ids
        found = (self._readable(volume_id) for volume_id in here)
        return [record for record in found if record is not None], token_of(here[-1]) if len(ids) > len(here) else ""

    def _readable(self, volume_id: str) -> VolumeRecord | None:
        try:
            return self._registry.get(volume_id)
        except StoreUnusable as error:
            log.warning("volume %s is left out of the list: %s", volume_id, error)
            return None

    def validate(
        self,
        volume_id: str,
        *,
        capabilities: Sequence[Capability],
        context: Mapping[str, str],
        parameters: Mapping[str, str],
        mutable: Mapping[str, str] | None = None,
    ) -> str:
        """Tell why a volume can't do all that is asked; "" if it can.

        Args:
            volume_id: of the volume.
            capabilities: at least one.
            context: its volume_context as the caller knows it; empty if the caller doesn't say.
            parameters: what it was made from, likewise. What an annotation said then, nobody knows now: there, what
                the volume has is taken for right.
            mutable: what was said anew, likewise.

        Raises:
            VolumeNotFound: there is no such volume.
            InvalidArgument: there are no capabilities, or one has no access mode.
            StoreUnusable: the registry fails.

        """
        return misfit(self.get(volume_id), capabilities, context, parameters, mutable or {})


def _same(request: VolumeRequest, record: VolumeRecord) -> VolumeRecord:
    difference = request.difference(record)
    if difference:
        raise VolumeExists(f"volume {request.name!r} exists with {difference}")
    return record
