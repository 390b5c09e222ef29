"""NodeAgent: the node's verbs, and the housekeeping behind them."""

import logging
import os
import threading
import time
from pathlib import Path

from csi_model.core.allow import Allowed
from csi_model.core.copies import NodeReport, Orders
from csi_model.errors import CsiModelError, StoreUnusable
from csi_model.node.ahead import Ahead, Named
from csi_model.node.census import Census
from csi_model.node.holding import Holding, OpenSource
from csi_model.node.inline import Inline
from csi_model.node.locks import VolumeLocks
from csi_model.node.mounts import Mounts
from csi_model.node.publishing import Publishing
from csi_model.node.readahead import ReadAhead
from csi_model.node.requests import PublishRequest, StageRequest, Usage
from csi_model.node.staging import Lookup, Staging
from csi_model.node.telling import ClaimEvents, Observe, Telling
from csi_model.node.warmer import Warmer
from csi_model.settings import Settings, StoreSettings
from csi_model.store import memory
from csi_model.store.holds import Hold
from csi_model.store.layout import Layout
from csi_model.store.store import Store
from csi_model.transfer.engine import Engine
from csi_model.transfer.keeping import no_room

log = logging.getLogger(__name__)
_ROUND = 3600.0  # seconds between two rounds of housekeeping; pressure is met when it arises, not then


def check_mount(settings: StoreSettings, mounts: Mounts) -> None:
    """Make sure that the store's disk is mounted, where the settings say that one has to be.

    Raises:
        StoreUnusable: it isn't.

    """
    required = settings.require_mount
    if required is None:
        return
    place = required.resolve()
    if not settings.root.resolve().is_relative_to(place):
        raise StoreUnusable(f"the store {settings.root} is not under {required}, its required mount")
    if place not in mounts.table():
        raise StoreUnusable(f"{required} is not mounted: mount the store's disk there, or unset the required mount")


def open_store(settings: StoreSettings, mounts: Mounts, *, awaits_orders: bool = False) -> Store:
    """Open the store of this node, with the mount table as the truth about which trees are in use.

    Args:
        settings: of the store.
        mounts: the mount table.
        awaits_orders: as :class:`Store` takes it.

    Raises:
        StoreUnusable: the required mount is missing, or as :class:`Store`.
        StoreLocked: another agent owns it.

    """
    check_mount(settings, mounts)
    layout = Layout(settings.root)

    def in_use() -> set[str]:
        names = (layout.in_use(mount.root) for mount in mounts.table().values())
        return {name for name in names if name is not None}

    return Store(settings, in_use=in_use, awaits_orders=awaits_orders)


class NodeAgent:
    """Everything that a node does.

    Args:
        store: open; closed by :meth:`close`.
        mounts: binds trees onto targets.
        lookup: the registry's record of a volume, None if there is none.
        named: the record of the ModelVolume of a name, for :meth:`obey`; None if there is none.
        open_source: opens a volume's source with the given CSI secrets.
        settings: every knob.
        node: this node's name, for people.
        claim_events: tells claims of their staging; None for silence.
        inline: what pods may name in volumes of their own; nothing by default.
        observe: counts how stagings end.

    """

    def __init__(
        self,
        store: Store,
        mounts: Mounts,
        *,
        lookup: Lookup,
        open_source: OpenSource,
        settings: Settings,
        node: str = "",
        claim_events: ClaimEvents | None = None,
        inline: Allowed = Allowed(),  # noqa: B008 - frozen
        observe: Observe | None = None,
        named: Named = lambda _: None,
    ) -> None:
        self.store = store
        self.mounts = mounts
        room = no_room if settings.page_cache.mode == "never" else memory.room
        self.engine = Engine(store, settings.transfer, room)
        self.telling = Telling(claim_events, node=node, observe=observe)
        self.warmer = Warmer(store, self.engine, settings.warmer, self.telling, changed=store.changed.ring)
        self.read_ahead = ReadAhead(settings.page_cache)
        locks = VolumeLocks()
        self._holding = holding = Holding(
            store, self.warmer, self.read_ahead, open_source=open_source, locks=locks, is_mounted=self._is_mounted,
            settings=settings.warmer,
        )  # fmt: skip
        self._staging = Staging(
            store, holding, self.read_ahead, lookup=lookup, locks=locks, is_mounted=self._is_mounted,
            telling=self.telling,
        )  # fmt: skip
        self._publishing = Publishing(store, mounts, holding=holding, read_ahead=self.read_ahead, locks=locks)
        self._inline = Inline(
            store, holding, self._publishing, locks=locks, allowed=inline, ambient_allow=settings.ambient_allow,
            telling=self.telling,
        )  # fmt: skip
        self.ahead = Ahead(store, self.warmer, named=named, open_source=open_source)
        store.changed.listen(self.ahead.look)
        self._census = Census(store, self.warmer, self.ahead)
        self._closing = threading.Event()
        self._housekeeping = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin in the background to resume warm-ups, collect holds, empty the trash, and carry out orders."""
        self._housekeeping.start()
        self.ahead.start()
        self.telling.start()

    def close(self) -> None:
        """Stop read-aheads and warm-ups (what is durable stays) and let go of the store."""
        self._closing.set()
        if self._housekeeping.is_alive():
            self._housekeeping.join()
        self.ahead.close()
        self.read_ahead.close()
        self.warmer.close()
        self.telling.close()
        self.store.close()

    def stage(self, request: StageRequest, *, timeout: float) -> None:
        self._staging.stage(request, timeout=timeout)

    def unstage(self, volume_id: str, staging_path: Path) -> None:
        self._staging.unstage(volume_id, staging_path)

    def publish(self, request: PublishRequest) -> None:
        self._publishing.publish(request)

    def publish_inline(self, request: PublishRequest, *, timeout: float) -> None:
        self._inline.publish(request, timeout=timeout)

    def unpublish(self, volume_id: str, target_path: Path) -> None:
        self._inline.forget(volume_id)
        self._publishing.unpublish(volume_id, target_path)

    def stats(self, volume_id: str, path: Path) -> Usage:
        return self._publishing.stats(volume_id, path)

    def obey(self, orders: Orders) -> None:
        """Take orders: what this node shall have, and what it may not evict by itself. Doesn't wait."""
        self.store.retention.leave.obey(orders)
        self.ahead.obey(orders)

    def report(self) -> NodeReport:
        """Say what is here; for one thread.

        Raises:
            StoreUnusable: the disk can't be read.

        """
        return self._census.take()

    def available(self) -> int:
        """Return the bytes that a new copy could get: what is free and what could be evicted."""
        evictable = self.store.retention.evictable_bytes(self.store.retention.evictable())
        return max(0, self.store.space.room().available + evictable)

    def _keep_house(self) -> None:
        resume = True
        while True:
            try:
                if resume:
                    self.store.make_shards()
                    self._holding.resume()
                    resume = False
                self.collect_holds()
                self.store.tidy()
            except CsiModelError as error:
                log.warning("housekeeping: %s", error)
            if self._closing.wait(_ROUND):
                return

    def collect_holds(self) -> list[str]:
        """End holds whose staging directory is gone and whose targets are not mounted, after a grace.

        Kubelet doesn't unstage after final errors and force deletes, so holds would leak otherwise.

        Returns:
            The volume ids whose holds ended.

        """
        collected = []
        for volume_id in [hold.volume_id for hold in self.store.holds.all()]:
            try:
                if self._holding.collect(volume_id, self._is_live):
                    log.info("collected the hold of volume %s: its staging directory is gone", volume_id)
                    collected.append(volume_id)
            except CsiModelError as error:  # one volume's trouble mustn't keep the others' holds
                log.warning("housekeeping: %s", error)
        return collected

    def _is_mounted(self, target: str) -> bool:
        return Path(target) in self.mounts.table()

    def _is_live(self, hold: Hold) -> bool:
        """Tell whether a hold is young, its staging directory is there, or one of its targets is mounted."""
        if time.time() - hold.since <= self.store.settings.abandoned_hold_grace:
            return True
        if os.path.isdir(hold.staging_path):  # noqa: PTH112 - free text from disk, which Path may refuse
            return True
        table = self.mounts.table()
        return any(Path(target) in table for target in hold.targets)
