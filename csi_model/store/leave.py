"""Leave: which copies the node may evict by itself, in which order, and for which it has to ask.

Copies to which pods may be steered strictly are guarded: the node says that they are leaving, and deletes them when
they are released, so that no pod is sent where its model is just being deleted.
"""

import threading
import time
from collections.abc import Callable, Collection

from csi_model.core.copies import Guard, Orders, Wanted
from csi_model.store.bell import Ring, nobody
from csi_model.store.trees import Tree

ASKED_FOR = 120.0
"""Seconds that a copy is leaving after its room was last asked for: kubelet asks again after two minutes at most."""
_NO_ORDERS = Orders()


class Leave:
    """What this node was told of eviction, and what it asks. Safe to use from many threads.

    Args:
        awaits_orders: whether somebody gives orders: nothing may be evicted before the first.
        changed: called when another copy is leaving, or one is not any more.
        clock: seconds, monotonic.

    """

    def __init__(
        self, *, awaits_orders: bool = False, changed: Ring = nobody, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._orders = None if awaits_orders else _NO_ORDERS
        self._changed = changed
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}  # of what is leaving
        self._wanted: dict[str, Wanted] = {}

    @property
    def known(self) -> bool:
        """Whether it is known what may be evicted."""
        return self._orders is not None

    def obey(self, orders: Orders) -> None:
        """Take new orders."""
        self._wanted = {wanted.revision: wanted for wanted in orders.wanted}
        self._orders = orders

    def wanted(self, manifest: str) -> bool:
        """Tell whether the node shall have a Revision."""
        return manifest in self._wanted

    def urgent(self) -> set[str]:
        """Return what a pod on this node waits for."""
        return {manifest for manifest, wanted in self._wanted.items() if wanted.urgent}

    def guarded(self, manifest: str) -> bool:
        """Tell whether the node has to ask for leave to evict a Revision."""
        return (self._orders or _NO_ORDERS).guarded.get(manifest, Guard.RELEASED) is not Guard.RELEASED

    def released(self) -> set[str]:
        """Return what the node is told to delete if nothing holds it."""
        return {it for it, guard in (self._orders or _NO_ORDERS).guarded.items() if guard is Guard.RELEASED}

    def given(self, manifest: str) -> bool:
        """Tell whether the node may evict a Revision by itself."""
        return self.known and not self.guarded(manifest)

    def pinned(self, tree: Tree) -> bool:
        """Tell whether a copy goes last; of what is wanted that is told, else it was marked."""
        wanted = self._wanted.get(tree.manifest)
        return tree.pinned if wanted is None else wanted.pin

    def turn(self, tree: Tree) -> tuple[int, float]:
        """Return the key by which copies are sorted, first to go first."""
        rank = 2 if self.pinned(tree) else 1 if self.wanted(tree.manifest) else 0
        return rank, tree.released

    def ask(self, manifests: Collection[str]) -> None:
        """Say that these are leaving, for a while."""
        with self._lock:
            before = set(self._until)
            self._until |= dict.fromkeys(manifests, self._clock() + ASKED_FOR)
            news = before != set(self._until)
        if news:
            self._changed()

    def leaving(self) -> set[str]:
        """Return what the node would like to evict and waits for leave to do, or has just got it."""
        with self._lock:
            now = self._clock()
            guarded = (self._orders or _NO_ORDERS).guarded
            self._until = {it: until for it, until in self._until.items() if now < until and it in guarded}
            return set(self._until)

    def gone(self, manifest: str) -> None:
        """Note that a copy was taken away: one that comes again isn't leaving."""
        with self._lock:
            self._until.pop(manifest, None)
