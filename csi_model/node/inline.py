"""Inline volumes: those that stand in a pod itself, with no claim, no PersistentVolume and no NodeStage.

Their attributes are the pod author's own words, so they are trusted with nothing: an administrator's allow-list says
which sources and endpoints they may name, and every publish that mounts something proves that its Secret may read the
model. What was resolved at the first call is pinned in the hold; the copy is shared with everybody else's.

Publishing what is mounted already needs no network and proves nothing: kubelet asks again for every running pod
after it was restarted, also while the source is down, and a refusal would take nothing from the pod anyway.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field

from csi_model.core import capability
from csi_model.core.allow import Allowed, check_sources, covers
from csi_model.core.fields import CHANGEABLE, Auth
from csi_model.core.globs import Selection
from csi_model.core.manifest import Manifest
from csi_model.core.volume import VolumeSpec, check_revision, revision_of
from csi_model.errors import InProgress, InvalidArgument, VolumeExists
from csi_model.node.holding import Holding
from csi_model.node.locks import VolumeLocks
from csi_model.node.publishing import Publishing, place
from csi_model.node.requests import PublishRequest
from csi_model.node.telling import Telling
from csi_model.store.holds import Hold
from csi_model.store.store import Store


@dataclass(eq=False, slots=True)
class _Listing:
    """A source that is being listed for a volume by one call, while others wait for it."""

    ended: threading.Event = field(default_factory=threading.Event)
    given_up: bool = False


class Inline:
    """NodePublishVolume of inline volumes; unpublishing them is like that of all others.

    Args:
        store: this node's disk.
        holding: holds, and waits for what they hold.
        publishing: mounts.
        locks: shared with it.
        allowed: what pods may name.
        ambient_allow: globs of references that pods may read with the driver's own rights.
        telling: counts the calls that find their copy here.

    Raises:
        InvalidArgument: a glob of ``ambient_allow`` is malformed.

    """

    def __init__(
        self,
        store: Store,
        holding: Holding,
        publishing: Publishing,
        *,
        locks: VolumeLocks,
        allowed: Allowed,
        ambient_allow: tuple[str, ...],
        telling: Telling,
    ) -> None:
        self._store = store
        self._holding = holding
        self._publishing = publishing
        self._locks = locks
        self._allowed = allowed
        check_sources(ambient_allow, "ambient_allow")
        self._ambient_allow = ambient_allow
        self._telling = telling
        self._guard = threading.Lock()
        self._listings: dict[str, _Listing] = {}

    def publish(self, request: PublishRequest, *, timeout: float) -> None:
        """Bring the model that a pod names and show it at the target.

        Args:
            request: what to publish where.
            timeout: seconds that the caller can wait.

        Raises:
            InProgress: not there yet; the text tells the progress.
            InvalidArgument: the attributes are malformed, or name what isn't allowed.
            VolumeExists: the volume, or its target, is there with other arguments.
            SourceError: the Secret may not read it, or it can't be brought. If the error is final, the hold is
                released: kubelet forgets the volume then and won't unpublish it.
            NodeError: no room, or the kernel refused the mount.

        """
        began = time.monotonic()
        deadline = began + timeout
        capability.check(request.capability)
        spec = VolumeSpec.from_attributes(request.context)
        revision_of(request.context)  # refuses what is none before anybody is asked
        if self._is_published(request, spec):
            return
        try:
            self._check_allowed(spec)
            hold, manifest = self._hold(request, spec, deadline)
            if not self._bring(hold, manifest, request.secrets, deadline):
                self._telling.already(time.monotonic() - began)
            self._publishing.publish(request)
        except BaseException as error:
            self._holding.release_after(request.volume_id, error)
            raise

    def forget(self, volume_id: str) -> None:
        """Note that a volume isn't wanted any more: a listing that still runs for it ends in nothing.

        So do the calls that wait for it: their caller may be gone, and what they would hold, nobody would release.
        """
        with self._guard:
            listing = self._listings.pop(volume_id, None)
            if listing is not None:
                listing.given_up = True
                listing.ended.set()

    def _check_allowed(self, spec: VolumeSpec) -> None:
        self._allowed.check(spec, "volumeAttributes.source")
        if spec.auth is Auth.AMBIENT and not covers(self._ambient_allow, spec):
            raise InvalidArgument(
                "volumeAttributes.auth",
                f"is ambient: whoever makes a pod could read {spec.source} as the driver can; use auth: secret with a "
                "nodePublishSecretRef, or let the driver's ambient_allow cover it",
            )
        for name in (*CHANGEABLE, "placement"):
            if name in spec.context():
                raise InvalidArgument(f"volumeAttributes.{name}", "is for StorageClasses, not for a pod's own volumes")

    # the hold

    def _is_published(self, request: PublishRequest, spec: VolumeSpec) -> bool:
        with self._locks.of(request.volume_id):
            hold = self._store.holds.get(request.volume_id)
            if hold is None:
                return False
            _check_same(hold, request, spec)
            return self._publishing.is_published(hold, request)

    def _hold(self, request: PublishRequest, spec: VolumeSpec, deadline: float) -> tuple[Hold, Manifest]:
        """Return the volume's hold, made now or by an earlier call; in either case this call's rights are proven."""
        while True:
            hold = self._store.holds.get(request.volume_id)
            manifest = self._store.manifest(hold.manifest) if hold is not None else None
            if hold is not None and manifest is not None:
                with closing(self._holding.open_source(spec, request.secrets)) as source:
                    source.prove(manifest)
                return hold, manifest
            mine = _Listing()
            with self._guard:
                listing = self._listings.setdefault(request.volume_id, mine)
            if listing is mine:
                return self._resolve(request, spec, mine)
            if not listing.ended.wait(max(0.0, deadline - time.monotonic())):
                raise InProgress(f"{spec.source} is still being listed")
            _check_wanted(request.volume_id, listing)

    def _resolve(self, request: PublishRequest, spec: VolumeSpec, listing: _Listing) -> tuple[Hold, Manifest]:
        volume_id = request.volume_id
        try:
            with closing(self._holding.open_source(spec, request.secrets)) as source:
                manifest = source.resolve(spec.source, Selection(spec.include, spec.exclude))
            check_revision(request.context, manifest)
            with self._locks.of(volume_id):
                _check_wanted(volume_id, listing)
                return self._new_hold(request, spec, manifest), manifest
        finally:
            with self._guard:
                if self._listings.get(volume_id) is listing:
                    del self._listings[volume_id]
            listing.ended.set()

    def _new_hold(self, request: PublishRequest, spec: VolumeSpec, manifest: Manifest) -> Hold:
        self._store.save_manifest(manifest)
        hold = Hold(
            volume_id=request.volume_id,
            manifest=manifest.digest,
            staging_path=str(place(request.target_path).parent),
            capability=request.capability,
            context=spec.context(),
            bytes=manifest.size,
            files=manifest.files,
            pin=False,
            capacity=manifest.size,
            since=time.time(),
            ephemeral=True,
        )
        self._holding.put(hold)
        return hold

    def _bring(self, hold: Hold, manifest: Manifest, secrets: Mapping[str, str], deadline: float) -> bool:
        """Make sure that the copy is here; False if it was already."""
        with self._locks.of(hold.volume_id):
            if self._store.holds.get(hold.volume_id) is None:
                raise InProgress(f"volume {hold.volume_id} was given up while its rights were being proven")
            if self._holding.settle(hold) is not None:
                return False
            warmup, started = self._holding.want(hold, manifest, secrets)
        self._holding.wait(hold, warmup, started=started, timeout=max(0.0, deadline - time.monotonic()))
        return True


def _check_wanted(volume_id: str, listing: _Listing) -> None:
    if listing.given_up:
        raise InProgress(f"volume {volume_id} was given up while its source was being listed")


def _check_same(hold: Hold, request: PublishRequest, spec: VolumeSpec) -> None:
    if not hold.ephemeral or hold.capability != request.capability or dict(hold.context) != spec.context():
        raise VolumeExists(f"volume {hold.volume_id} is on this node already with other arguments")
    if str(place(request.target_path).parent) != hold.staging_path:
        raise VolumeExists(f"volume {hold.volume_id} is for another target, in {hold.staging_path}")
    if revision_of(request.context) not in (None, hold.manifest):
        raise VolumeExists(f"volume {hold.volume_id} is on this node already as revision {hold.manifest}")
