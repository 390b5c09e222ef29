"""Census: what of which Revision is on this node now, whatever was done before."""

from collections.abc import Sequence

from csi_model.core.copies import Copy, NodeReport
from csi_model.core.warmth import Warmth
from csi_model.node.ahead import Ahead
from csi_model.node.warmer import Warmer
from csi_model.node.warmup import Warmup
from csi_model.store.durable import translated
from csi_model.store.store import Store
from csi_model.store.trees import Tree


class Census:
    """Counts what is here. Cheap: some system calls per copy, and no look at the blobs while the same copies could go.

    For one thread.

    Args:
        store: this node's disk.
        warmer: the running warm-ups.
        ahead: what couldn't be brought.

    """

    def __init__(self, store: Store, warmer: Warmer, ahead: Ahead) -> None:
        self._store = store
        self._warmer = warmer
        self._ahead = ahead
        self._sizes: dict[str, int] = {}  # of staged Revisions, which never change
        self._spare: tuple[list[str], int] = ([], 0)

    def take(self) -> NodeReport:
        """Return what is here.

        Raises:
            StoreUnusable: the disk can't be read.

        """
        with translated("reading the store"):
            warmups = {warmup.manifest.digest: warmup for warmup in self._warmer.all()}
            trees = {tree.manifest: tree for tree in self._store.trees.all()}  # after: none falls in between
            self._sizes = {it: size for it, size in self._sizes.items() if it in trees}
            held, leaving = self._store.retention.held(), self._store.retention.leave.leaving()
            copies = [self._staged(tree, held=it in held, leaving=it in leaving) for it, tree in trees.items()]
            copies += [_warming(warmup, held=it in held) for it, warmup in warmups.items() if it not in trees]
            copies += [
                Copy(it, Warmth.COLD, failure.bytes, held=it in held, error=failure.text)
                for it, failure in self._ahead.failures.all().items()
                if it not in trees and it not in warmups
            ]
            room = self._store.space.room()
            copies.sort(key=lambda copy: copy.revision)
            return NodeReport(room.total, room.used, max(0, room.available), self._evictable(), tuple(copies))

    def _staged(self, tree: Tree, *, held: bool, leaving: bool) -> Copy:
        size = self._size(tree.manifest)
        return Copy(
            tree.manifest,
            Warmth.STAGED,
            size,
            present=size,
            held=held,
            pinned=self._store.retention.leave.pinned(tree),
            released=None if held else tree.released,
            leaving=leaving,
        )

    def _size(self, manifest: str) -> int:
        if manifest not in self._sizes:
            found = self._store.manifest(manifest)
            self._sizes[manifest] = found.size if found is not None else 0
        return self._sizes[manifest]

    def _evictable(self) -> int:
        retention = self._store.retention
        trees = [tree for tree in retention.evictable() if not retention.leave.wanted(tree.manifest)]
        return self._freed(trees)

    def _freed(self, trees: Sequence[Tree]) -> int:
        names = sorted(tree.manifest for tree in trees)
        if names != self._spare[0]:
            self._spare = (names, self._store.retention.evictable_bytes(trees))
        return self._spare[1]


def _warming(warmup: Warmup, *, held: bool) -> Copy:
    progress = warmup.progress()
    return Copy(
        warmup.manifest.digest,
        Warmth.WARMING,
        progress.total,
        present=min(progress.present, progress.total),
        rate=progress.rate,
        held=held,
    )
