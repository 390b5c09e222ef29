"""Store: this node's disk, owned by one agent at a time.

Opening it takes a moment whatever it holds: nothing is scanned, and what an earlier life left half done is renamed
aside. :meth:`Store.tidy` does the rest in the background.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from csi_model.core.manifest import Entry, Manifest
from csi_model.errors import SourceInvalid
from csi_model.settings import StoreSettings
from csi_model.store.bell import Bell
from csi_model.store.blobs import Blobs
from csi_model.store.durable import settle, translated, write_file
from csi_model.store.holds import Holds
from csi_model.store.identity import ingest_name
from csi_model.store.ingest import DiskIngest
from csi_model.store.labels import Label
from csi_model.store.layout import Layout
from csi_model.store.leave import Leave
from csi_model.store.opening import open_root
from csi_model.store.retention import Retention
from csi_model.store.rubbish import Rubbish
from csi_model.store.smalls import DiskSmallFiles
from csi_model.store.space import DiskReservation, Shortfall, Space
from csi_model.store.trees import Trees


class Store:
    """An open store. Safe to use from several threads; raises StoreFull and StoreUnusable for I/O errors.

    Its methods are :class:`csi_model.store.base.StagingStore`, and what looks after a node's disk besides.

    Args:
        settings: where and how full.
        in_use: names under ``trees/`` and ``trash/`` that the mount table shows in use.
        awaits_orders: whether somebody tells what shall be here and what may go, and no copy goes before that
            (:class:`csi_model.store.leave.Leave`).

    Attributes:
        changed: rings when there is a tree or a hold more or less, and when another tree is leaving.

    Raises:
        StoreLocked: another agent owns it.
        StoreUnusable: its layout is of another version, it can't be written, or its files can't get their label.

    """

    def __init__(
        self, settings: StoreSettings, *, in_use: Callable[[], set[str]] = set, awaits_orders: bool = False
    ) -> None:
        self.settings = settings
        self.layout = Layout(settings.root)
        self._wanted: list[Manifest] = []
        self._writing: set[str] = set()
        self.changed = Bell()
        self._changed = threading.Condition()
        self._keeping = threading.Lock()
        with translated(f"opening the store {settings.root}"):
            self._lock: int | None = open_root(self.layout)
            try:
                label = Label(settings.selinux_label)
                label.check(self.layout.assembly)
                self.holds = Holds(self.layout, self.changed.ring)
            except BaseException:
                self.close()
                raise
        self.blobs = Blobs(self.layout, label)
        self.trees = Trees(self.layout, self.blobs, self.changed.ring)
        self._rubbish = Rubbish(
            self.layout, self.blobs, self.trees,
            protected=self._protected, in_use=in_use, sole_writer=self._sole_writer,
        )  # fmt: skip
        self.retention = Retention(
            self.blobs, self.trees, self.holds, self._rubbish, protected=self._protected, in_use=in_use,
            leave=Leave(awaits_orders=awaits_orders, changed=self.changed.ring),
        )  # fmt: skip
        self.space = Space(settings.root, high_watermark=settings.high_watermark, make_room=self._make_room)

    def close(self) -> None:
        """Let another agent have the store."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # manifests

    def save_manifest(self, manifest: Manifest) -> None:
        """Keep a manifest, so that its Revision can be staged again without a network."""
        path = self.layout.manifest(manifest.digest)
        with self._keeping, translated(f"writing manifest {manifest.digest[:12]}"):
            if path.exists():
                os.utime(path)  # so that it isn't forgotten before something names it
            else:
                write_file(path, manifest.canonical, scratch=self.layout.assembly)

    def manifest(self, digest: str) -> Manifest | None:
        """Return a manifest that was kept; None if there is none, or it is damaged (then it can be saved again)."""
        path = self.layout.manifest(digest)
        with translated(f"reading manifest {digest[:12]}"), suppress(FileNotFoundError):
            try:
                return Manifest.parse(path.read_bytes(), digest=digest)
            except SourceInvalid:
                path.unlink(missing_ok=True)
        return None

    @contextmanager
    def wanted(self, manifest: Manifest) -> Iterator[None]:
        with self._changed:
            self._wanted.append(manifest)
        try:
            yield
        finally:
            with self._changed:
                self._wanted.remove(manifest)

    def _protected(self) -> list[Manifest]:
        """Return the manifests that running plans need, and those that are held but not staged yet."""
        with self._changed:
            running = list(self._wanted)
        waiting = self.holds.held() - {manifest.digest for manifest in running}
        held = (self.manifest(digest) for digest in waiting if self.trees.find(digest) is None)
        return running + [manifest for manifest in held if manifest is not None]

    # bytes

    def find(self, origin: str, entry: Entry) -> str | None:
        with translated("looking up a blob"):
            return self.blobs.find(origin, entry)

    def present(self, manifest: Manifest) -> Mapping[str, str]:
        with translated("looking up blobs"):
            return self.blobs.present(manifest)

    def reserve(self, size: int) -> DiskReservation:
        return self.space.reserve(size)

    def allocated(self, origin: str, entry: Entry) -> int:
        with suppress(OSError):
            return self.layout.data(self.layout.ingest(ingest_name(origin, entry))).stat().st_blocks * 512
        return 0

    @contextmanager
    def ingest(self, origin: str, entry: Entry) -> Iterator[DiskIngest | None]:
        with self._sole_writer(ingest_name(origin, entry)) as mine:
            if not mine:
                yield None
                return
            ingest = DiskIngest(self.layout, self.blobs, origin, entry)
            try:
                yield ingest
            finally:
                ingest.close()

    @contextmanager
    def _sole_writer(self, name: str) -> Iterator[bool]:
        with self._changed:
            mine = name not in self._writing
            self._writing.add(name)
        try:
            yield mine
        finally:
            if mine:
                with self._changed:
                    self._writing.discard(name)
                    self._changed.notify_all()

    def wait_for_writers(self, timeout: float) -> None:
        with self._changed:
            self._changed.wait(timeout)

    def small_files(self, origin: str) -> DiskSmallFiles:
        return DiskSmallFiles(self.layout, self.blobs, origin)

    # trees

    def tree(self, manifest: str) -> Path | None:
        with self.trees.gate:
            return self.trees.find(manifest)

    def assemble(self, manifest: Manifest) -> Path:
        existing = self.tree(manifest.digest)
        if existing is not None:
            return existing
        digests = self.present(manifest)
        for entry in manifest.entries:
            if entry.size and entry.path not in digests:
                raise LookupError(entry.path)
        self.save_manifest(manifest)
        with translated(f"assembling revision {manifest.digest[:12]}"):
            return self.trees.build(manifest, digests)

    # room

    def _make_room(self, lacking: int) -> Shortfall:
        with translated("making room"):
            goal = self.space.room().available + lacking
            calm = not self._somebody_waits()  # what is only wanted ahead mustn't drive out what is
            return self.retention.make_room(
                lambda: goal - self.space.room().available, partly=False, spare=lambda: calm
            )

    def _somebody_waits(self) -> bool:
        """Tell whether a pod on this node waits for something that isn't here."""
        awaited = self.holds.held() | self.retention.leave.urgent()
        return any(self.trees.find(manifest) is None for manifest in awaited)

    def make_shards(self) -> None:
        """Make the directories that blobs and notes will lie in, ahead of need: 512 of them take up to half a second.

        Raises:
            StoreFull, StoreUnusable: they can't be made.

        """
        with translated("making the store's directories"):
            for shard in self.layout.shards():
                shard.mkdir(mode=0o700, exist_ok=True)
            settle([self.layout.blobs, self.layout.knowns])

    def tidy(self) -> None:
        """Delete what is rubbish, and evict down to the low watermark if the disk is above the high one."""
        with translated("tidying the store"):
            self._rubbish.sweep()
            with self._keeping:
                self._rubbish.forget()
            self.trees.relabel()
            room = self.space.room()
            most, goal = (
                int(room.total * mark) for mark in (self.settings.high_watermark, self.settings.low_watermark)
            )
            if room.used > most:
                self.retention.make_room(
                    lambda: self.space.room().used - goal, partly=True, spare=lambda: self.space.room().used <= most
                )
