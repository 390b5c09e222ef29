"""A Source in memory: mutable in one line, able to fail, stall and lie on request. Passes the Source contract."""

import hashlib
import threading
from collections import deque
from contextlib import contextmanager
from functools import lru_cache

from csi_model.core.checksum import Algorithm, Checksum
from csi_model.core.manifest import Entry
from csi_model.core.reference import Reference
from csi_model.errors import SourceChanged, SourceNotFound, SourceUnavailable
from csi_model.sources.base import Abort, Source

_HASHES = {Algorithm.SHA256: hashlib.sha256, Algorithm.SHA1: hashlib.sha1, Algorithm.MD5: hashlib.md5}


@lru_cache(maxsize=4096)
def _hex(algorithm, data):
    return _HASHES[algorithm](data).hexdigest()


class Stall:
    """A read that waits: ``reached`` is set when it got there, ``released`` lets it go on."""

    def __init__(self):
        self.reached = threading.Event()
        self.released = threading.Event()
        self.was_cut = False

    def cut(self):
        """End it as the loss of the connection would."""
        self.was_cut = True
        self.released.set()


class FakeSource(Source):
    """Files by key, e.g. ``FakeSource({"qwen/config.json": b"{}"})`` read as ``s3://models/qwen``.

    Attributes:
        files: key → bytes; change it at any time.
        versioned: whether what was pinned once can still be read after it was overwritten or deleted.
        checksum: the algorithm of the entries' checksums, or None for entries that are only pinned.
        reads: (path, start, length of all views together) of each read that was begun.
        resolves: how often it was asked to resolve.
        failures: errors that the next listings raise, in order.

    """

    def __init__(self, files=None, *, origin="fake:models", versioned=False, checksum=Algorithm.SHA256):
        self.origin = origin
        self.files = {} if files is None else files
        self.versioned = versioned
        self.checksum = checksum
        self.reads = []
        self.resolves = 0
        self.failures = deque()
        self.closed = False
        self._kept = {}
        self._next = deque()
        self._stalls = []

    def serve_next(self, times):
        """Let the next reads succeed, whatever those after them do."""
        self._next.extend([("serve", None, 0)] * times)

    def fail_next(self, error, times=1):
        """Let the next reads raise an error."""
        self._next.extend([("fail", error, 0)] * times)

    def fail_after(self, views, error):
        """Let the next read give so many views and then raise an error."""
        self._next.append(("fail", error, views))

    def corrupt_next(self, times=1):
        """Let the next reads give wrong bytes of the right length."""
        self._next.extend([("corrupt", None, 0)] * times)

    def stall_next(self, after=0):
        """Let the next read give so many views, then wait until the returned Stall is released or cut.

        The read's Abort and the source's close() cut it: it fails then.
        """
        stall = Stall()
        self._next.append(("stall", stall, after))
        self._stalls.append(stall)
        return stall

    def close(self):
        self.closed = True
        for stall in self._stalls:
            stall.released.set()

    def _entries(self, reference: Reference, selection):
        self.resolves += 1
        if self.failures:
            raise self.failures.popleft()
        prefix = f"{reference.path}/" if reference.path else ""
        found = {key.removeprefix(prefix): key for key in list(self.files) if key.startswith(prefix)}
        if not found and reference.path in self.files:
            found = {reference.path.rpartition("/")[2]: reference.path}
        if not found:
            near = sorted({key.partition("/")[0] for key in self.files})
            raise SourceNotFound(f"nothing lies under {reference}: nearby are {near[:5]}")
        return [self._entry(path, key) for path, key in found.items() if selection.admits(path)]

    def _entry(self, path, key):
        data = self.files[key]
        pin = _hex(Algorithm.SHA256, data)
        self._kept[pin] = data
        checksum = None if self.checksum is None else Checksum(self.checksum, _hex(self.checksum, data))
        return Entry(path, len(data), key, pin, checksum)

    def _prove_read(self, entry):
        self._pinned(entry)

    def _pinned(self, entry):
        data = self.files.get(entry.key)
        if data is not None and _hex(Algorithm.SHA256, data) == entry.pin:
            return data
        if self.versioned and entry.pin in self._kept:
            return self._kept[entry.pin]
        raise SourceChanged(f"{entry.key} was overwritten or deleted")

    @contextmanager
    def open(self, entry):
        yield _FakeReader(self, entry)


class _FakeReader:
    def __init__(self, source, entry):
        self._source = source
        self._entry = entry

    def read(self, start, views, abort=None):
        source = self._source
        length = sum(map(len, views))
        source.reads.append((self._entry.path, start, length))
        try:
            kind, what, after = source._next.popleft()
        except IndexError:
            kind, what, after = "serve", None, 0
        data, position = None, 0
        for number, view in enumerate(views):
            if number == after and kind == "fail":
                raise what
            if number == after and kind == "stall":
                self._wait(what, abort or Abort())
            if data is None:
                data = source._pinned(self._entry)[start : start + length]
                assert len(data) == length, "a read beyond the end of the entry"
            piece = data[position : position + len(view)]
            view[:] = bytes(byte ^ 0xFF for byte in piece) if kind == "corrupt" else piece
            position += len(view)
            yield view

    def _wait(self, stall, abort):
        with abort.armed(stall.cut):
            stall.reached.set()
            stall.released.wait()
        if self._source.closed or stall.was_cut:
            raise SourceUnavailable("the source was closed, or the read cut off, during a read")
