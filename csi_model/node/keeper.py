"""Keeper: what a person asks of a node's store: status, verify, evict. Plain dictionaries, ready for JSON.

It works inside the running agent (through the admin socket) and on a store that no agent has (through the lock).
"""

from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from csi_model.core.manifest import Manifest
from csi_model.core.volume import VolumeSpec
from csi_model.core.warmth import Progress, Warmth
from csi_model.errors import CsiModelError, InvalidArgument, SourceInvalid, VolumeNotFound
from csi_model.node.mounts import Mounts
from csi_model.node.readahead import ReadAhead
from csi_model.node.warmer import Warmer
from csi_model.store import memory
from csi_model.store.durable import translated
from csi_model.store.holds import Hold
from csi_model.store.scrub import Scrubbed, scrub
from csi_model.store.store import Store
from csi_model.store.trees import EMPTY

_SHORTEST = 6  # hex digits of a Manifest digest that a person may type


class Keeper:
    """Looks after one store.

    Args:
        store: open.
        mounts: the mount table.
        warmer: the running warm-ups; None when no agent runs.
        read_ahead: the running read-aheads; None when no agent runs.

    """

    def __init__(
        self, store: Store, mounts: Mounts, warmer: Warmer | None = None, read_ahead: ReadAhead | None = None
    ) -> None:
        self._store = store
        self._mounts = mounts
        self._warmer = warmer
        self._read_ahead = read_ahead

    def status(self) -> dict[str, Any]:
        """Return the store's room, its Revisions with their warmth, and its holds.

        ``fetched_bytes`` counts what the agent has received from sources since it started, ``page_cache`` what it has
        written through the page cache and past it, and read ahead; both are None when none runs.

        Raises:
            StoreUnusable: the disk can't be read.

        """
        with translated("reading the store"):
            room = self._store.space.room()
            table = self._mounts.table()
            holds = self._store.holds.all()
            settings = self._store.settings
            return {
                "store": {
                    "root": str(self._store.layout.root),
                    "total_bytes": room.total,
                    "used_bytes": room.used,
                    "reserved_bytes": room.reserved,
                    "available_bytes": max(0, room.available),
                    "high_watermark": settings.high_watermark,
                    "low_watermark": settings.low_watermark,
                },
                "fetched_bytes": self._warmer.fetched() if self._warmer else None,
                "page_cache": self._page_cache(),
                "revisions": self._revisions(holds),
                "holds": [
                    {
                        "volume_id": hold.volume_id,
                        "manifest": hold.manifest,
                        "source": _source(hold),
                        "claim": str(hold.claim) if hold.claim else None,
                        "inline": hold.ephemeral,
                        "staging_path": hold.staging_path,
                        "since": hold.since,
                        "targets": sorted(path for path in hold.targets if Path(path) in table),
                    }
                    for hold in sorted(holds, key=lambda hold: hold.since)
                ],
                "unreadable_holds": sorted(self._store.holds.unreadable),
            }

    def _revisions(self, holds: list[Hold]) -> list[dict[str, Any]]:
        warmups = {warmup.manifest.digest: warmup for warmup in (self._warmer.all() if self._warmer else [])}
        trees = {tree.manifest: tree for tree in self._store.trees.all()}
        found = []
        for digest in sorted(trees.keys() | warmups.keys() | {hold.manifest for hold in holds}):
            mine = [hold for hold in holds if hold.manifest == digest]
            warmup, tree = warmups.get(digest), trees.get(digest)
            manifest = warmup.manifest if warmup else self._store.manifest(digest)
            warmth = Warmth.STAGED if tree else Warmth.WARMING if warmup else Warmth.COLD
            found.append(
                {
                    "manifest": digest,
                    "source": _source(mine[0]) if mine else _place(manifest),
                    "warmth": warmth.value,
                    "bytes": manifest.size if manifest else None,
                    "files": manifest.files if manifest else None,
                    "checked_files": manifest.checked_files if manifest else None,
                    "held_by": [hold.volume_id for hold in mine],
                    "pinned": bool(tree and tree.pinned),
                    "released": tree.released if tree and not mine else None,
                    "progress": _progress(warmup.progress()) if warmup else None,
                }
            )
        return found

    def verify(self, manifest: str | None = None) -> Iterator[dict[str, Any]]:
        """Read staged copies again and compare every chunk.

        A damaged file is taken away with every copy that has it, so that the next staging fetches it anew; a pod
        that has it mounted keeps it until it ends.

        Args:
            manifest: a Manifest digest or its first digits; None for all.

        Yields:
            An event per file (``file``), then one per Revision (``revision``).

        Raises:
            VolumeNotFound: no such copy.
            InvalidArgument: too few digits.
            StoreUnusable: the disk can't be read.

        """
        seen: set[str] = set()
        trees = [tree.manifest for tree in self._store.trees.all()]
        for digest in self._matching(trees, manifest) if manifest else trees:
            with translated(f"verifying revision {digest[:12]}"):
                yield from self._verify(digest, seen)

    def _verify(self, manifest: str, seen: set[str]) -> Iterator[dict[str, Any]]:
        damaged: dict[str, str] = {}
        size = 0
        for file in self._scrub(manifest, seen):
            size += file.size
            if file.problem:
                damaged[file.path] = file.digest
            yield {
                "event": "file", "manifest": manifest, "path": file.path, "bytes": file.size, "problem": file.problem,
            }  # fmt: skip
        withdrawn = self._store.retention.condemn(manifest, damaged.values()) if damaged else []
        yield {
            "event": "revision", "manifest": manifest, "bytes": size,
            "damaged": sorted(damaged), "withdrawn": sorted(withdrawn),
        }  # fmt: skip

    def _scrub(self, manifest: str, seen: set[str]) -> Iterator[Scrubbed]:
        try:
            yield from scrub(self._store, manifest, skip=seen)
        except SourceInvalid as error:  # nobody can tell what the copy should consist of
            yield Scrubbed("(index of the copy)", EMPTY, 0, problem=str(error))
        except FileNotFoundError:
            if self._store.tree(manifest) is not None:
                raise
            # else it was evicted meanwhile, which is no damage

    def evict(self, target: str, *, dry_run: bool) -> dict[str, Any]:
        """Delete copies that nothing holds or has mounted.

        What the cluster wants here would come again, so it goes only when it is named. For what pods are steered to
        strictly the controller is asked first, if it is named.

        Args:
            target: ``unused`` for all that nobody wants, or a Manifest digest or its first digits.
            dry_run: only tell.

        Returns:
            ``evicted`` and ``bytes`` freed (or that would be), and ``kept`` with the reason.

        Raises:
            VolumeNotFound: no such copy.
            InvalidArgument: too few digits.

        """
        with translated("evicting"):
            evictable = {tree.manifest: tree for tree in self._store.retention.evictable()}
            trees = [tree.manifest for tree in self._store.trees.all()]
            if target == "unused":
                chosen = trees
                evictable = {it: tree for it, tree in evictable.items() if not self._store.retention.leave.wanted(it)}
            else:
                chosen = self._matching(trees, target)
            going = [evictable[digest] for digest in chosen if digest in evictable]
            freed = self._store.retention.evictable_bytes(going)
            kept = {digest: self._why_kept(digest) for digest in chosen if digest not in evictable}
            if not dry_run:
                if target != "unused":
                    self._ask(kept)
                for tree in going:
                    if not self._store.retention.evict(tree.manifest):
                        kept[tree.manifest] = self._why_kept(tree.manifest)
            gone = [tree.manifest for tree in going if tree.manifest not in kept]
            return {"evicted": gone, "bytes": freed, "kept": kept, "dry_run": dry_run}

    def _ask(self, kept: Mapping[str, str]) -> None:
        retention = self._store.retention
        guarded = [it for it in kept if retention.leave.guarded(it) and it not in retention.held()]
        retention.leave.ask(guarded)

    def _why_kept(self, digest: str) -> str:
        holders = [hold.volume_id for hold in self._store.holds.all() if hold.manifest == digest]
        leave = self._store.retention.leave
        if holders:
            return f"held by {', '.join(holders)}"
        if digest in self._store.retention.held():
            return "mounted in a pod"
        if not leave.known:
            return "the controller hasn't told this node yet what may go"
        if leave.guarded(digest):
            return (
                "pods are steered here strictly for it (placement: require): evicted by name, it goes within about a "
                "minute, if the controller finds that no pod needs it here"
            )
        if leave.wanted(digest):
            return "the cluster wants it here, and would bring it again (evict it by name to see that)"
        return "being staged"

    def _matching(self, digests: list[str], prefix: str) -> list[str]:
        if len(prefix) < _SHORTEST:
            raise InvalidArgument("revision", f"give at least {_SHORTEST} digits of its manifest digest")
        found = [digest for digest in digests if digest.startswith(prefix)]
        if not found:
            raise VolumeNotFound(f"no staged revision begins with {prefix[:64]}: `csi-model status` lists them")
        if len(found) > 1:
            raise InvalidArgument("revision", f"{prefix[:64]} begins {len(found)} of them: give more digits")
        return found

    def _page_cache(self) -> dict[str, Any] | None:
        if self._warmer is None or self._read_ahead is None:
            return None
        figures, keeping = self._read_ahead.figures(), self._warmer.engine.keeping
        return {
            "room_bytes": memory.room(), "kept_bytes": keeping.kept_bytes, "passed_bytes": keeping.passed_bytes,
            "read_ahead_bytes": figures.read, "running": figures.running, "ended": dict(figures.ended),
        }  # fmt: skip


def _source(hold: Hold) -> str:
    try:
        return str(VolumeSpec.from_context(hold.context).source)
    except CsiModelError:  # a hold written by another version is still worth listing
        return "?"


def _place(manifest: Manifest | None) -> str:
    """Name a Revision that no volume holds: its Origin, and the directory that all its keys have in common."""
    if manifest is None:
        return "?"
    directories = [entry.key.split("/")[:-1] for entry in manifest.entries]
    shared = takewhile(lambda names: len(set(names)) == 1, zip(*directories, strict=False))
    return "/".join([manifest.origin, *(names[0] for names in shared)])


def _progress(progress: Progress) -> dict[str, Any]:
    return {
        "total_bytes": progress.total, "present_bytes": progress.present, "fetched_bytes": progress.fetched,
        "shared_bytes": progress.shared, "bytes_per_second": progress.rate, "seconds_left": progress.seconds_left,
        "retries": progress.retries, "words": progress.words(),
    }  # fmt: skip
