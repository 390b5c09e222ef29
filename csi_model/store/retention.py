"""Retention: which copies go when the disk fills. What is held, published or being brought here never does.

The order: rubbish, unfinished ingests that nobody wants, blobs without a tree, then trees: the one released longest
ago first, those that the node was told to have after all others, pinned ones last. Guarded ones only with leave
(:mod:`csi_model.store.leave`).
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress

from csi_model.core.manifest import Manifest
from csi_model.errors import SourceInvalid
from csi_model.store.blobs import Blobs
from csi_model.store.holds import Holds
from csi_model.store.layout import SMALL
from csi_model.store.leave import Leave
from csi_model.store.rubbish import Rubbish
from csi_model.store.space import Shortfall
from csi_model.store.trees import EMPTY, Tree, Trees

log = logging.getLogger(__name__)
_NO_ORDERS_YET = (
    "nothing is evicted until the csi-model controller has told this node what it may not evict, which it does when "
    "the Kubernetes API answers; it is tried again"
)
_WAITING = (
    "the csi-model controller was asked for leave to evict {} of models with placement: require; this is tried again, "
    "and has the room about a minute after no pod on this node needs them"
)


class Retention:
    """Eviction over one store. Methods raise OSError; the store translates.

    Args:
        blobs: its blobs.
        trees: its trees.
        holds: its holds.
        rubbish: where things go.
        protected: the manifests that running plans need, and those that are held but not staged.
        in_use: names under ``trees/`` and ``trash/`` that the mount table shows in use.
        leave: what may go without asking; everything by default.

    """

    def __init__(
        self,
        blobs: Blobs,
        trees: Trees,
        holds: Holds,
        rubbish: Rubbish,
        *,
        protected: Callable[[], list[Manifest]],
        in_use: Callable[[], set[str]],
        leave: Leave | None = None,
    ) -> None:
        self.leave = leave or Leave()
        self._blobs = blobs
        self._trees = trees
        self._holds = holds
        self._rubbish = rubbish
        self._protected = protected
        self._in_use = in_use

    def held(self) -> set[str]:
        """Return the Manifest digests that a volume holds or a mount shows."""
        return self._holds.held() | self._in_use()

    def _kept(self) -> set[str]:
        return self.held() | {manifest.digest for manifest in self._protected()}

    def _idle(self) -> list[Tree]:
        """Return the trees that nobody holds or needs just now, first to go first."""
        kept = self._kept()
        return sorted((tree for tree in self._trees.all() if tree.manifest not in kept), key=self.leave.turn)

    def evictable(self) -> list[Tree]:
        """Return the trees that may go now, first to go first."""
        return [tree for tree in self._idle() if self.leave.given(tree.manifest)]

    def evictable_bytes(self, trees: Collection[Tree]) -> int:
        """Count the bytes that evicting these trees would free: blobs that no other tree links to and no plan needs."""
        links: Counter[str] = Counter()
        for tree in trees:
            with suppress(OSError, SourceInvalid):
                links.update(self._trees.index(tree.manifest).values())
        for digest in {EMPTY, *self._rubbish.needed()}:
            del links[digest]
        return sum(self._freed_by(digest, count) for digest, count in links.items())

    def _freed_by(self, digest: str, links: int) -> int:
        with suppress(FileNotFoundError):
            files = [path.stat() for path in self._blobs.files_of(digest)]
            if all(file.st_size < SMALL for file in files) or sum(file.st_nlink - 1 for file in files) <= links:
                return sum(file.st_blocks * 512 for file in files)
        return 0

    def make_room(
        self, lacking: Callable[[], int], *, partly: bool, spare: Callable[[], bool] = lambda: False
    ) -> Shortfall:
        """Evict until nothing is lacking; ask for leave where only guarded copies would make the room.

        Args:
            lacking: measures the bytes that still have to be freed; zero or less is enough.
            partly: whether to evict trees also if all of them together wouldn't suffice.
            spare: whether what the node was told to have stays nevertheless; asked before each of them.

        Returns:
            What could have gone but wouldn't have sufficed, and what is waited for.

        """
        for step in (self._rubbish.sweep, self._rubbish.drop_ingests, self._rubbish.drop_blobs):
            step()
            if lacking() <= 0:
                return Shortfall()
        idle = [tree for tree in self._idle() if not self._spared(tree, spare)]
        trees = [tree for tree in idle if self.leave.given(tree.manifest)]
        possible = self.evictable_bytes(trees)
        if possible < lacking():
            words = self._ask(trees, [tree for tree in idle if tree not in trees], lacking(), partly=partly)
            if not partly:
                return Shortfall(possible, words)
        for tree in trees:
            if not self._spared(tree, spare):
                self.evict(tree.manifest)
            if lacking() <= 0:
                break
        return Shortfall()

    def _spared(self, tree: Tree, spare: Callable[[], bool]) -> bool:
        return self.leave.wanted(tree.manifest) and spare()

    def _ask(self, trees: list[Tree], others: list[Tree], lacking: int, *, partly: bool) -> str:
        """Ask for leave to evict as many of ``others`` as have to go besides ``trees``; tells so, for people."""
        if not self.leave.known:
            return _NO_ORDERS_YET
        for count in range(1, len(others) + 1):
            enough = self.evictable_bytes([*trees, *others[:count]]) >= lacking
            if enough or (partly and count == len(others)):
                self.leave.ask([tree.manifest for tree in others[:count]])
                return _WAITING.format("1 copy" if count == 1 else f"{count} copies")
        return ""

    def evict_released(self) -> None:
        """Evict what the node was given leave to evict, as far as nothing holds or wants it."""
        for manifest in self.leave.released():
            if not self.leave.wanted(manifest):
                self.evict(manifest)

    def evict(self, manifest: str) -> bool:
        """Take one tree away, and the blobs that only it linked to.

        Returns:
            Whether it went; False if somebody has come to hold or want it, leave has to be asked for, or it isn't
            there.

        """
        with self._trees.gate:
            if self._trees.find(manifest) is None or not self.leave.given(manifest) or manifest in self._kept():
                return False
            self._trees.remove(manifest, self._rubbish.dispose)
            self.leave.gone(manifest)
        log.info("evicted the copy of revision %s", manifest[:12])
        self._rubbish.sweep()
        self._rubbish.drop_blobs()
        return True

    def condemn(self, manifest: str, digests: Collection[str]) -> list[str]:
        """Take damaged blobs away with every tree that has one of them, so that the next staging fetches them anew.

        Pods that have such a tree mounted keep it; the files are deleted when the mount is gone.

        Args:
            manifest: the tree in which the damage was found; goes in any case.
            digests: of the damaged files; EMPTY ones have no blob.

        Returns:
            Manifest digests of the trees that went.

        """
        damaged = set(digests) - {EMPTY}
        with self._trees.gate:
            for digest in damaged:  # before the trees: after a crash in between nothing new is made of damage
                self._blobs.condemn(digest, self._rubbish.dispose)
            gone = [t.manifest for t in self._trees.all() if t.manifest == manifest or self._has_any(t, damaged)]
            for name in gone:
                self._trees.remove(name, self._rubbish.dispose)
                self.leave.gone(name)
        log.warning("withdrew %d copies that have damaged files", len(gone))
        self._rubbish.sweep()
        return gone

    def _has_any(self, tree: Tree, digests: set[str]) -> bool:
        try:
            return not digests.isdisjoint(self._trees.index(tree.manifest).values())
        except (FileNotFoundError, SourceInvalid):
            return True  # one that can't tell what it consists of can't be trusted; its blobs stay
