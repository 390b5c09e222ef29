"""ReadAhead: brings a staged tree into the page cache while the pod that will load it is still being started.

How it reads was chosen by measurement (docs/architecture.md):

- pread(2) into a scratch buffer that nobody looks at. readahead(2) and fadvise(WILLNEED) are cut off silently at the
  device's read_ahead_kb; sendfile(2) to /dev/null costs least but touches each page several times, which makes it
  *active*: pages that a pod may never read would then outlive those that others work with.
- In the order of the manifest's paths, as loaders read, and several pieces at once, so that it leads a loader that
  starts at the front at the same time. A piece that is in memory already is passed over.
- The front of a tree that doesn't fit is brought all the same, as far as there is room: it is what is read first.
- At normal priority: the idle I/O class would let a pod's page fault wait behind a read that others starve.
"""

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from csi_model.core.units import bytes_text
from csi_model.settings import MIB, PageCacheSettings
from csi_model.store import memory, pages

log = logging.getLogger(__name__)
_PIECE = 4 * MIB  # bytes of one read: many requests of a disk, and soon over when nobody wants it any more
_READERS = 4  # threads of one run
_HEAD_START = 0.05
"""Seconds that the call which wanted it gets to answer first: a warm NodeStage + NodePublish takes 5 ms that way, 14
with a read-ahead of 1 GiB beside it. The pod's container takes longer to start than this."""
READ, IN_MEMORY, NO_ROOM, UNWANTED, FAILED = "read", "in_memory", "no_room", "unwanted", "failed"
"""How a run ends: it brought something; all was there already; memory filled up; the pod left; an I/O error."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What read-aheads have done since the agent started.

    Attributes:
        read: bytes brought into the page cache.
        running: runs now.
        ended: how many runs ended in which way.

    """

    read: int
    running: int
    ended: Mapping[str, int]


@dataclass(eq=False, slots=True)
class _Run:
    manifest: str
    root: Path
    wanters: set[str]
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    pieces: Iterator[tuple[Path, int, int]] = field(default_factory=lambda: iter(()))
    read: int = 0
    is_short: bool = False

    def next_piece(self) -> tuple[Path, int, int] | None:
        with self.lock:
            return None if self.stop.is_set() else next(self.pieces, None)

    def outcome(self) -> str:
        if self.is_short:
            return NO_ROOM
        if self.stop.is_set():
            return UNWANTED
        return READ if self.read else IN_MEMORY


class ReadAhead:
    """The read-aheads of one node, at most one per tree. Nothing here blocks or fails its caller.

    Args:
        settings: whether there are any.
        room: bytes that the page cache may still take when it has taken ``kept`` of ours.

    """

    def __init__(self, settings: PageCacheSettings, *, room: Callable[..., int] = memory.room) -> None:
        self._settings = settings
        self._room = room
        self._lock = threading.Lock()
        self._running: dict[str, _Run] = {}
        self._threads: dict[_Run, threading.Thread] = {}
        self._ended: Counter[str] = Counter()
        self._read = 0
        self._closed = False
        self._scratch = memoryview(bytearray(_PIECE))  # of all readers: what they read is of no interest

    def want(self, manifest: str, volume_id: str, root: Path) -> None:
        """Bring a tree into memory in the background, or join the run that does.

        Args:
            manifest: its Manifest digest.
            volume_id: whose pod will load it; until :meth:`leave`.
            root: its directory.

        """
        with self._lock:
            if self._closed or self._settings.mode == "never":
                return
            run = self._running.get(manifest)
            if run is not None and not run.stop.is_set():
                run.wanters.add(volume_id)
                return
            run = _Run(manifest, root, {volume_id})
            thread = threading.Thread(target=self._bring, args=(run,), name=f"read-ahead-{manifest[:12]}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # no thread to be had: the pod reads from the disk then
                log.warning("can't read revision %s ahead: %s", manifest[:12], error)
                return
            self._running[manifest] = run
            self._threads[run] = thread

    def leave(self, manifest: str, volume_id: str) -> None:
        """Note that no pod of a volume will load a tree any more; the run stops soon after the last one left."""
        with self._lock:
            run = self._running.get(manifest)
            if run is not None:
                run.wanters.discard(volume_id)
                if not run.wanters:
                    run.stop.set()

    def figures(self) -> Figures:
        """Return what has been done so far."""
        with self._lock:
            return Figures(self._read, len(self._threads), dict(self._ended))

    def wait(self) -> None:
        """Wait until no run is left of those that are running now."""
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join()

    def close(self) -> None:
        """Stop all runs, wait for them, and begin no more."""
        with self._lock:
            self._closed = True
            for run in self._threads:
                run.stop.set()
        self.wait()

    def _bring(self, run: _Run) -> None:
        try:
            run.stop.wait(_HEAD_START)
            run.pieces = _pieces(run.root)
            with ThreadPoolExecutor(_READERS) as pool:
                for reader in [pool.submit(self._read_pieces, run) for _ in range(_READERS)]:
                    reader.result()
            outcome = run.outcome()
        except (OSError, RuntimeError) as error:  # evicted meanwhile, a failing disk, no threads: nothing depends on it
            run.stop.set()
            outcome = FAILED
            log.warning("reading revision %s ahead failed: %s", run.manifest[:12], error)
        with self._lock:
            self._ended[outcome] += 1
            if self._running.get(run.manifest) is run:
                del self._running[run.manifest]
            del self._threads[run]
        log.info("read %s of revision %s ahead: %s", bytes_text(run.read), run.manifest[:12], outcome)

    def _read_pieces(self, run: _Run) -> None:
        while (piece := run.next_piece()) is not None:
            path, offset, length = piece
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                missing = length - pages.resident(fd, offset, length)
                if missing and self._take(run, missing):
                    os.preadv(fd, [self._scratch[:length]], offset)
            finally:
                os.close(fd)

    def _take(self, run: _Run, size: int) -> bool:
        with self._lock:
            kept = sum(each.read for each in self._threads)
            run.read += size
            self._read += size
        if size <= self._room(kept=kept):  # not under the lock, for which callers would wait
            return True
        with self._lock:
            run.read -= size
            self._read -= size
        run.is_short = True
        run.stop.set()
        return False


def _pieces(root: Path) -> Iterator[tuple[Path, int, int]]:
    """Yield path, offset and length of what to read, in the order of a manifest's paths."""
    for path in sorted(_files(root), key=str):
        size = path.stat().st_size
        for offset in range(0, size, _PIECE):
            yield path, offset, min(_PIECE, size - offset)


def _files(directory: Path) -> Iterator[Path]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path)
