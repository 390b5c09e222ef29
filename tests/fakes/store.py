"""MemoryStore: a StagingStore that keeps everything in memory, except the trees that it shows."""

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

from csi_model.core.treehash import chunk_count, chunk_range, combine
from csi_model.core.units import bytes_text
from csi_model.errors import StoreFull
from csi_model.store.base import Landed
from csi_model.store.identity import ingest_name, memo_names


class MemoryStore:
    """A working store without a disk.

    Args:
        trees: an existing directory in which assembled trees are written.
        capacity: bytes that may be promised, less what blobs take.

    Attributes:
        known: what has been committed: name → Digest.
        blobs: Digest → bytes.
        failure: set it to an error, and the next write raises it.

    """

    def __init__(self, trees, *, capacity=40 * 2**20):
        self.known = {}
        self.blobs = {}
        self.failure = None
        self._trees = trees
        self._capacity = capacity
        self._promised = 0
        self._drafts = {}
        self._writing = set()
        self._wanted = []
        self._changed = threading.Condition()

    @contextmanager
    def wanted(self, manifest):
        self._wanted.append(manifest)
        try:
            yield
        finally:
            self._wanted.remove(manifest)

    def find(self, origin, entry):
        found = (self.known.get(name) for name in memo_names(origin, entry))
        return next((digest for digest in found if digest in self.blobs), None) if entry.size else None

    def present(self, manifest):
        found = ((entry.path, self.find(manifest.origin, entry)) for entry in manifest.entries)
        return {path: digest for path, digest in found if digest is not None}

    def reserve(self, size):
        with self._changed:
            free = self._capacity - self._promised
            if size > free:
                raise StoreFull(f"{bytes_text(size - free)} are missing", needed=size, free=free)
            self._promised += size
        return _Promise(self, size)

    def allocated(self, origin, entry):
        return entry.size if ingest_name(origin, entry) in self._drafts else 0

    @contextmanager
    def ingest(self, origin, entry):
        name = ingest_name(origin, entry)
        with self._changed:
            mine = name not in self._writing
            self._writing.add(name)
        if not mine:
            yield None
            return
        try:
            draft = self._drafts.setdefault(name, _Draft(bytearray(entry.size)))
            yield _Ingest(self, origin, entry, draft)
        finally:
            with self._changed:
                self._writing.discard(name)
                self._changed.notify_all()

    def wait_for_writers(self, timeout):
        with self._changed:
            self._changed.wait(timeout)

    def small_files(self, origin):
        return _SmallFiles(self, origin)

    def tree(self, manifest):
        root = self._trees / manifest
        return root if root.is_dir() else None

    def assemble(self, manifest):
        if (root := self.tree(manifest.digest)) is not None:
            return root
        files = {}
        for entry in manifest.entries:
            digest = self.find(manifest.origin, entry)
            if entry.size and digest is None:
                raise LookupError(entry.path)
            files[entry.path] = self.blobs[digest] if entry.size else b""
        work = self._trees / f".{manifest.digest}"
        for path, data in files.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_bytes(data)
        return work.rename(self._trees / manifest.digest)

    def add(self, origin, entry, data, digest):
        self.blobs[digest] = bytes(data)
        self.known.update(dict.fromkeys(memo_names(origin, entry), digest))
        self._drafts.pop(ingest_name(origin, entry), None)

    def forget_draft(self, name):
        self._drafts.pop(name, None)

    def fail_if_told(self):
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    def give_back(self, size):
        with self._changed:
            self._promised -= size


@dataclass
class _Draft:
    data: bytearray
    landed: dict = field(default_factory=dict)


class _Ingest:
    reserved = True

    def __init__(self, store, origin, entry, draft):
        self._store = store
        self._origin = origin
        self._entry = entry
        self._draft = draft
        self._written = {}
        self._lock = threading.Lock()

    @property
    def landed(self):
        return self._draft.landed

    @property
    def pending_bytes(self):
        return len(self._written) * chunk_range(0, self._entry.size)[1]

    def write(self, start, data, *, cached=True):
        if not 0 <= start < start + len(data) <= self._entry.size:
            raise ValueError(f"{self._entry.path} has no bytes {start} to {start + len(data)}")
        self._store.fail_if_told()
        self._draft.data[start : start + len(data)] = data

    def land(self, index, *, digest, note=""):
        if not 0 <= index < chunk_count(self._entry.size):
            raise ValueError(f"{self._entry.path} has no chunk {index}")
        with self._lock:
            self._written[index] = Landed(digest, note)

    def checkpoint(self):
        with self._lock:
            written, self._written = self._written, {}
            self._draft.landed.update(written)

    def read_into(self, start, view):
        view[:] = self._draft.data[start : start + len(view)]

    def commit(self):
        self.checkpoint()
        count = chunk_count(self._entry.size)
        missing = set(range(count)) - self.landed.keys()
        if missing:
            raise ValueError(f"{self._entry.path} lacks {len(missing)} of {count} chunks")
        digest = combine([self.landed[index].digest for index in range(count)], self._entry.size)
        self._store.add(self._origin, self._entry, self._draft.data, digest)
        return digest

    def discard(self):
        self._store.forget_draft(ingest_name(self._origin, self._entry))


class _SmallFiles:
    def __init__(self, store, origin):
        self._store = store
        self._origin = origin
        self._files = []

    def __len__(self):
        return len(self._files)

    def write(self, entry, data, *, digest, cached=True):
        if len(data) != entry.size:
            raise ValueError(f"{entry.path} has {len(data)} bytes, expected {entry.size}")
        self._store.fail_if_told()
        self._files.append((entry, bytes(data), combine([digest], entry.size)))

    def commit(self):
        for entry, data, digest in self._files:
            self._store.add(self._origin, entry, data, digest)
        self.abandon()

    def abandon(self):
        self._files = []


class _Promise:
    def __init__(self, store, size):
        self._store = store
        self._left = size

    def used(self, size):
        size = max(0, min(size, self._left))
        self._left -= size
        self._store.give_back(size)

    def recheck(self):
        self._store.fail_if_told()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.used(self._left)
