"""Publish and unpublish: the hold says whose a target is, the mount table whether it is live."""

import os
from contextlib import suppress
from pathlib import Path

from csi_model.core import capability
from csi_model.errors import MountFailed, NotStaged, TargetInUse, VolumeExists, VolumeNotFound
from csi_model.node.holding import Holding
from csi_model.node.locks import VolumeLocks
from csi_model.node.mounts import Mount, Mounts
from csi_model.node.readahead import ReadAhead
from csi_model.node.requests import PublishRequest, Usage
from csi_model.store.holds import Hold, Target
from csi_model.store.store import Store


class Publishing:
    """NodePublishVolume, NodeUnpublishVolume and NodeGetVolumeStats, idempotent.

    None of them needs the source, the registry or a secret.

    Args:
        store: this node's disk.
        mounts: binds trees onto targets.
        holding: the holds, and asked to bring a copy again that was lost.
        read_ahead: brings the tree into memory, for the pod that is arriving.
        locks: shared with staging.

    """

    def __init__(
        self, store: Store, mounts: Mounts, *, holding: Holding, read_ahead: ReadAhead, locks: VolumeLocks
    ) -> None:
        self._store = store
        self._mounts = mounts
        self._holding = holding
        self._read_ahead = read_ahead
        self._locks = locks

    def publish(self, request: PublishRequest) -> None:
        """Bind the staged tree onto a target, read-only whatever was asked.

        Raises:
            NotStaged: the volume isn't staged here.
            VolumeExists: the target is taken, by this volume with other arguments or by something else.
            TargetInUse: the access mode allows one target and there is another.
            InProgress: the copy was lost and is being staged again.
            MountFailed: the kernel refused; nothing is left behind.

        """
        capability.check(request.capability)
        target = place(request.target_path)
        with self._locks.of(request.volume_id):
            hold = self._store.holds.get(request.volume_id)
            if hold is None:
                raise NotStaged(f"volume {request.volume_id} is not staged on this node")
            if hold.ephemeral != request.is_inline:
                raise VolumeExists(
                    f"volume {hold.volume_id} is on this node already, and only one of the two is inline"
                )
            root = self._store.tree(hold.manifest)
            if root is None:
                raise self._holding.bring_again(hold, urgent=True)
            wanted = Target(request.capability, request.read_only)
            table = self._mounts.table()
            live = table.get(target)
            self._check_target(hold, target, wanted, live)
            self._check_single(hold, target, wanted, [path for path in hold.targets if Path(path) in table])
            if hold.targets.get(str(target)) != wanted:
                hold = hold.with_target(str(target), wanted)
                self._holding.put(hold)
            if live is None:
                self._bind(hold, root, target, request)
                self._read_ahead.want(hold.manifest, hold.volume_id, root)

    def is_published(self, hold: Hold, request: PublishRequest) -> bool:
        """Tell whether a target is live with these arguments already; raises as :meth:`publish`, with the lock held."""
        target = place(request.target_path)
        live = self._mounts.table().get(target)
        self._check_target(hold, target, Target(request.capability, request.read_only), live)
        return live is not None

    def _check_target(self, hold: Hold, target: Path, wanted: Target, live: Mount | None) -> None:
        if live is None:
            return
        for other in self._store.holds.all():
            if other.volume_id != hold.volume_id and str(target) in other.targets:
                raise VolumeExists(f"{target} is a target of another volume, {other.volume_id}")
        known = hold.targets.get(str(target))
        if known is not None and known != wanted:
            raise VolumeExists(f"volume {hold.volume_id} is published at {target} already with other arguments")
        # A copy that was withdrawn as damaged lies in the trash under its name and a suffix; the pod keeps it.
        if (self._store.layout.in_use(live.root) or "").partition(".")[0] != hold.manifest:
            raise VolumeExists(f"something else is mounted at {target}: unmount it")
        if not live.read_only:
            raise MountFailed(f"{target} is mounted writable, which this driver never does: unmount it")

    def _check_single(self, hold: Hold, target: Path, wanted: Target, live: list[str]) -> None:
        others = [path for path in live if path != str(target)]
        single = wanted.capability.single_target or any(hold.targets[path].capability.single_target for path in others)
        if others and single:
            raise TargetInUse(
                f"volume {hold.volume_id} allows one target on a node and is published at {others[0]}: "
                "use ReadOnlyMany if several pods share it"
            )

    def _bind(self, hold: Hold, root: Path, target: Path, request: PublishRequest) -> None:
        made = False
        try:
            try:
                target.mkdir(mode=0o750)
                made = True
            except FileExistsError:
                if target.is_symlink() or not target.is_dir():
                    raise MountFailed(f"{target} exists and is not a directory") from None
            except OSError as error:
                raise MountFailed(f"can't make the target {target}: {error.strerror}") from error
            self._mounts.bind_read_only(root, target, flags=request.capability.mount_flags)
        except MountFailed:
            if made:
                with suppress(OSError):
                    target.rmdir()
            self._holding.put(hold.without_target(str(target)))
            raise

    def unpublish(self, volume_id: str, target_path: Path) -> None:
        """Take a target away: the mount, the directory and the note in the hold. One that isn't there is no error.

        An inline volume's hold ends with its target, as a last step: after a crash before it the call is repeated.
        A target of another volume is left alone.

        Raises:
            MountFailed: the kernel refused, or the directory isn't empty.

        """
        target = place(target_path)
        with self._locks.of(volume_id):
            hold = self._store.holds.get(volume_id)
            is_mine = hold is not None and str(target) in hold.targets
            if not is_mine and any(str(target) in other.targets for other in self._store.holds.all()):
                return
            self._take_down(target)
            if hold is not None and hold.ephemeral:
                if str(target.parent) == hold.staging_path:
                    self._holding.drop(volume_id)
            elif hold is not None and is_mine:
                hold = hold.without_target(str(target))
                self._holding.put(hold)
                if not hold.targets:
                    self._read_ahead.leave(hold.manifest, volume_id)

    def _take_down(self, target: Path) -> None:
        live = self._mounts.table().get(target)
        if live is not None:
            if self._store.layout.in_use(live.root) is None:
                raise MountFailed(f"something that this driver didn't mount is mounted at {target}: unmount it")
            self._mounts.unmount(target)
        try:
            target.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            if target.is_dir():
                raise MountFailed(f"can't remove the target {target}: {error.strerror}") from error

    def stats(self, volume_id: str, path: Path) -> Usage:
        """Tell the size of a published or staged volume; constant time, nothing is walked.

        Raises:
            VolumeNotFound: the volume isn't at this path.

        """
        hold = self._store.holds.get(volume_id)
        target = place(path)
        is_published = hold is not None and str(target) in hold.targets and target in self._mounts.table()
        is_staged = hold is not None and not hold.ephemeral and os.path.normpath(path) == hold.staging_path
        if hold is None or not (is_published or is_staged):
            raise VolumeNotFound(f"volume {volume_id} is not at {path}")
        return Usage(
            total_bytes=max(hold.capacity, hold.bytes), used_bytes=hold.bytes,
            total_files=hold.files, used_files=hold.files,
        )  # fmt: skip


def place(path: Path) -> Path:
    """Return a target's path as the mount table spells it: without links above it; its last name isn't followed."""
    plain = Path(os.path.normpath(path))
    return Path(os.path.realpath(plain.parent)) / plain.name
