"""Store: this node's disk, owned by one agent at a time.

Opening it takes a moment whatever it holds: nothing is scanned, and what an earlier life left half done is renamed
aside. :meth:`Store.tidy` does the rest in the background.
"""

import fcntl
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from csi_model.core.manifest import Entry, Manifest
from csi_model.core.treehash import CHUNK
from csi_model.errors import SourceInvalid, StoreLocked, StoreUnusable
from csi_model.settings import StoreSettings
from csi_model.store.blobs import Blobs
from csi_model.store.durable import translated, write_file
from csi_model.store.holds import Holds
from csi_model.store.identity import ingest_name
from csi_model.store.ingest import DATA, LEDGER, Ingest
from csi_model.store.layout import VERSION, Layout
from csi_model.store.retention import Retention
from csi_model.store.smalls import SmallFiles
from csi_model.store.space import Space
from csi_model.store.trees import Trees


class Store:
    """An open store. Safe to use from several threads; raises StoreFull and StoreUnusable for I/O errors.

    Args:
        settings: where and how full.
        in_use: names under ``trees/`` and ``trash/`` that the mount table shows in use.

    Raises:
        StoreLocked: another agent owns it.
        StoreUnusable: its layout is of another version, or it can't be written.

    """

    def __init__(self, settings: StoreSettings, *, in_use: Callable[[], set[str]] = set) -> None:
        self.settings = settings
        self.layout = Layout(settings.root)
        self._wanted: Counter[str] = Counter()
        self._manifests: dict[str, Manifest] = {}
        self._busy: set[str] = set()
        self._changed = threading.Condition()
        with translated(f"opening the store {settings.root}"):
            _make_root(self.layout)
            self._lock = _take_lock(self.layout)
            try:
                _check_version(self.layout)
                _set_aside(self.layout)
                self.holds = Holds(self.layout)
            except BaseException:
                os.close(self._lock)
                raise
        self.blobs = Blobs(self.layout)
        self.trees = Trees(self.layout, self.blobs)
        self.retention = Retention(
            self.layout, self.blobs, self.trees, self.holds, protected=self.protected, in_use=in_use
        )
        self.space = Space(settings.root, high_watermark=settings.high_watermark, make_room=self._make_room)

    def close(self) -> None:
        """Let another agent have the store."""
        os.close(self._lock)

    # manifests

    def save_manifest(self, manifest: Manifest) -> None:
        """Keep a manifest, so that its Revision can be staged again without a network."""
        path = self.layout.manifest(manifest.digest)
        if not path.exists():
            with translated(f"writing manifest {manifest.digest[:12]}"):
                write_file(path, manifest.canonical)

    def manifest(self, digest: str) -> Manifest | None:
        """Return a manifest that was kept; None if there is none, or it is damaged (then it can be saved again)."""
        path = self.layout.manifest(digest)
        with translated(f"reading manifest {digest[:12]}"), suppress(FileNotFoundError):
            try:
                manifest = Manifest.parse(path.read_bytes())
            except SourceInvalid:
                manifest = None
            if manifest is not None and manifest.digest == digest:
                return manifest
            path.unlink(missing_ok=True)
        return None

    @contextmanager
    def wanted(self, manifest: Manifest) -> Iterator[None]:
        """Keep what a Revision needs from eviction while the block runs: blobs, ingests, its tree."""
        with self._changed:
            self._wanted[manifest.digest] += 1
            self._manifests[manifest.digest] = manifest
        try:
            yield
        finally:
            with self._changed:
                self._wanted[manifest.digest] -= 1
                if not self._wanted[manifest.digest]:
                    del self._wanted[manifest.digest], self._manifests[manifest.digest]

    def protected(self) -> list[Manifest]:
        """Return the manifests that running plans need, and those that are held but not staged yet."""
        with self._changed:
            running = dict(self._manifests)
        for digest in self.holds.held() - running.keys():
            if self.trees.find(digest) is None:
                manifest = self.manifest(digest)
                if manifest is not None:
                    running[digest] = manifest
        return list(running.values())

    # bytes

    def find(self, origin: str, entry: Entry) -> str | None:
        """Return the Digest of an entry's bytes if they are here; None for empty entries and for unknown ones."""
        with translated("looking up a blob"):
            return self.blobs.find(origin, entry) if entry.size else None

    def landed(self, origin: str, entry: Entry) -> int:
        """Return how many bytes of an unfinished ingest are on disk, at most; an estimate that opens nothing."""
        path = self.layout.ingest(ingest_name(origin, entry))
        with suppress(OSError):
            return min(entry.size, (path / LEDGER).read_bytes().count(b"\n") * CHUNK)
        return 0

    def allocated(self, origin: str, entry: Entry) -> int:
        """Return how many bytes of disk an unfinished ingest has already."""
        with suppress(OSError):
            return (self.layout.ingest(ingest_name(origin, entry)) / DATA).stat().st_blocks * 512
        return 0

    @contextmanager
    def ingest(self, origin: str, entry: Entry) -> Iterator[Ingest | None]:
        """Open the ingest of an entry; None if another writer has it just now.

        What is durable stays when the block ends without :meth:`commit`.
        """
        name = ingest_name(origin, entry)
        with self._changed:
            if name in self._busy:
                taken = True
            else:
                taken = False
                self._busy.add(name)
        if taken:
            yield None
            return
        try:
            ingest = Ingest(self.layout.ingest(name), size=entry.size, label=entry.path)
            try:
                yield ingest
            finally:
                ingest.close()
        finally:
            with self._changed:
                self._busy.discard(name)
                self._changed.notify_all()

    def wait_for_writers(self, timeout: float) -> None:
        """Wait until some ingest has been closed by its writer, at most ``timeout`` seconds."""
        with self._changed:
            self._changed.wait(timeout)

    def commit(self, origin: str, entry: Entry, ingest: Ingest) -> str:
        """Make a complete ingest a blob: durable first, visible after.

        Returns:
            Its Digest.

        Raises:
            ValueError: chunks are missing.

        """
        digest, chunks = ingest.seal()
        with translated(f"committing {entry.path}"):
            self.blobs.adopt([(ingest.directory / DATA, digest, chunks)])
            self.blobs.remember(origin, [(entry, digest)])
            self._throw_away(ingest.directory)
        return digest

    def discard(self, ingest: Ingest) -> None:
        """Throw an ingest away: its bytes are wrong or will never be wanted."""
        with translated(f"discarding {ingest.label}"):
            self._throw_away(ingest.directory)

    def _throw_away(self, path: Path) -> None:
        path.rename(self.layout.trash / f"{path.name[:16]}.{token_hex(8)}")

    def small_files(self, origin: str) -> SmallFiles:
        """Return a batch for files of one chunk, made durable together. For one thread."""
        return SmallFiles(self.layout, self.blobs, origin)

    # trees

    def tree(self, manifest: str) -> Path | None:
        """Return the directory to bind for a staged Revision, or None."""
        with self.retention.gate:
            return self.trees.find(manifest)

    def assemble(self, manifest: Manifest) -> Path:
        """Build and reveal the tree of a Revision whose entries are all here.

        Raises:
            LookupError: an entry's bytes are not here.
            StoreFull, StoreUnusable: it can't be written.

        """
        digests = {}
        for entry in manifest.entries:
            if entry.size:
                digest = self.find(manifest.origin, entry)
                if digest is None:
                    raise LookupError(entry.path)
                digests[entry.path] = digest
        self.save_manifest(manifest)
        with translated(f"assembling revision {manifest.digest[:12]}"):
            return self.trees.build(manifest, digests)

    def _make_room(self, lacking: int) -> int:
        with translated("making room"):
            goal = self.space.room().available + lacking
            return self.retention.make_room(lambda: self.space.room().available >= goal, lacking=lacking)

    def tidy(self) -> None:
        """Delete what is rubbish, and evict down to the low watermark if the disk is above the high one."""
        with translated("tidying the store"):
            self.retention.sweep()
            room = self.space.room()
            if room.used <= room.total * self.settings.high_watermark:
                return
            goal = int(room.total * self.settings.low_watermark)
            self.retention.make_room(lambda: self.space.room().used <= goal, lacking=0)


def _make_root(layout: Layout) -> None:
    layout.root.mkdir(mode=0o700, exist_ok=True)
    layout.root.chmod(0o700)


def _take_lock(layout: Layout) -> int:
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise StoreLocked(f"another agent (process {owner or 'unknown'}) owns the store {layout.root}") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _check_version(layout: Layout) -> None:
    try:
        found = layout.version.read_text().strip()
    except FileNotFoundError:
        ours = ("LOCK", "lost+found", "admin.sock")
        if any(path.name not in ours and not path.name.startswith(".VERSION") for path in layout.root.iterdir()):
            raise StoreUnusable(
                f"{layout.root} is neither empty nor a store: point the store at a directory of its own"
            ) from None
        found = VERSION
        write_file(layout.version, f"{VERSION}\n".encode())
    if found != VERSION:
        raise StoreUnusable(
            f"the store {layout.root} has layout version {found[:20]!r}, this program knows {VERSION!r}: "
            "run the version that made it, or empty the directory (models are fetched again)"
        )
    for directory in layout.directories:
        directory.mkdir(mode=0o700, exist_ok=True)


def _set_aside(layout: Layout) -> None:
    """Rename what an earlier life was building; constant time, deleted later by tidy."""
    layout.assembly.rename(layout.trash / f"assembly.{token_hex(4)}")
    layout.assembly.mkdir(mode=0o700)
