"""The contract of a Source: a remote, untrusted place that holds models.

A Source lists what lies under a Reference and pins it (:meth:`Source.resolve`), and gives ranges of a pinned Entry's
bytes (:meth:`Source.open`). A subclass fills in :meth:`Source._entries`, :meth:`Source._prove_read` and
:meth:`Source._open`; the base class enforces the limits, so a new source can't forget them.

Adding a source: write the subclass, name its scheme in :mod:`csi_model.sources.catalog`, and run
``tests/contracts/source_contract.py`` against it. Nothing else knows it.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from csi_model.core.globs import Selection
from csi_model.core.manifest import MAX_ENTRIES, Entry, Manifest
from csi_model.core.reference import Reference
from csi_model.errors import SourceInvalid, SourceNotFound


@dataclass(frozen=True, slots=True)
class Access:
    """How a place is reached and with whose rights.

    Attributes:
        endpoint: URL of the service, empty for the cloud's own.
        region: the bucket's region, empty for the default.
        addressing: ``auto``, ``path`` or ``virtual``.
        auth: ``secret``, ``ambient`` or ``anonymous``: see :class:`csi_model.core.volume.Auth`.
        secrets: the CSI secrets of the call; used only with ``secret``, never logged, never stored.
        ca_bundle: file with the certificates of authorities to trust instead of the system's, or None.

    """

    endpoint: str = ""
    region: str = ""
    addressing: str = "auto"
    auth: str = "secret"
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_bundle: Path | None = None


Blocks = Generator[memoryview, None, None]
"""Views as they get full; close() gives up the rest."""


class Abort:
    """Lets another thread end a read that waits for its server: the read fails soon with SourceUnavailable."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._end: Callable[[], None] | None = None

    def __call__(self) -> None:
        """End the read that is armed, if there is one."""
        with self._lock:  # held, so that a connection that goes back to its pool meanwhile isn't hit
            if self._end is not None:
                self._end()

    @contextmanager
    def armed(self, end: Callable[[], None]) -> Iterator[None]:
        """Let ``end`` be called while the block runs."""
        with self._lock:
            self._end = end
        try:
            yield
        finally:
            with self._lock:
                self._end = None


class Reader(Protocol):
    """Ranges of one pinned Entry's bytes; safe to use from several threads at once."""

    def read(self, start: int, views: Sequence[memoryview], abort: Abort | None = None) -> Blocks:
        """Fill the views one after another with the Entry's bytes from offset ``start``; yields each when it is full.

        One request for all of them. A view may be listed several times: it is filled anew when the caller asks for
        the next one, so memory needn't grow with the range. What was yielded is right; after an error the content
        of the view that would have been next is undefined. Closing the iterator early gives up the rest.

        Args:
            start: offset in bytes.
            views: writable, none of them empty; together they end at the Entry's size at most.
            abort: armed while the server is being waited for.

        Raises:
            SourceChanged: the source no longer has the pinned bytes.
            SourceDenied, SourceUnauthenticated: the rights are gone (a signature that merely expired is renewed).
            SourceUnavailable: reset, truncated, stalled, too slow, aborted, or a server error; worth another try.
            SourceBusy: the source asked to slow down.
            SourceInvalid: the answer makes no sense (another range, another length, an encoding).

        """


def read_into(reader: Reader, start: int, view: memoryview) -> None:
    """Fill one view, all or nothing; raises as :meth:`Reader.read`."""
    for _ in reader.read(start, [view]):
        pass


class Source(ABC):
    """A place that holds models, reached with one Access.

    Attributes:
        origin: the Origin's text: scheme, normalised endpoint and bucket. Equal for equal places whatever the
            spelling, different for different ones; it is part of what keeps one tenant's bytes from being
            taken for another's.

    """

    origin: str

    def resolve(self, reference: Reference, selection: Selection) -> Manifest:
        """List what lies under a Reference, pin it, and prove the right to *read* it.

        Moves no weights: it reads at most one byte.

        Args:
            reference: where the model lies; exactly there, never a sibling whose name merely begins alike.
            selection: which files belong to the model.

        Raises:
            SourceNotFound: nothing lies there; the text says what lies nearby.
            SourceDenied, SourceUnauthenticated: the rights don't suffice to list or to read.
            SourceInvalid: the listing is hostile or impossible.
            SourceUnavailable: unreachable or failing; worth another try.

        """
        manifest = Manifest.of(self.origin, self._admitted(reference, selection))
        if not manifest.entries:
            raise SourceNotFound(f"{reference} has files, but include and exclude leave none of them")
        self.prove(manifest)
        return manifest

    def prove(self, manifest: Manifest) -> None:
        """Prove the right to *read* a Revision of this source that was resolved before; moves one byte.

        Args:
            manifest: of this Origin, with at least one entry.

        Raises:
            SourceDenied, SourceUnauthenticated: the rights don't suffice.
            SourceChanged: the source no longer has the Revision.
            SourceUnavailable: unreachable or failing; worth another try.

        """
        self._prove_read(min(manifest.entries, key=lambda entry: (entry.size == 0, entry.size)))

    def _admitted(self, reference: Reference, selection: Selection) -> Iterator[Entry]:
        for count, entry in enumerate(self._entries(reference, selection)):
            if count >= MAX_ENTRIES:
                raise SourceInvalid(f"{reference} has over {MAX_ENTRIES} files: narrow it with include or exclude")
            yield entry

    @abstractmethod
    def _entries(self, reference: Reference, selection: Selection) -> Iterable[Entry]:
        """Yield the pinned files under the reference that the selection admits."""

    @abstractmethod
    def _prove_read(self, entry: Entry) -> None:
        """Read one byte of an entry (or its head, if empty), with the volume's own rights."""

    @abstractmethod
    def open(self, entry: Entry) -> AbstractContextManager[Reader]:
        """Give a Reader for a pinned Entry of this source; makes no request by itself."""

    def close(self) -> None:  # noqa: B027  (a source without connections has nothing to give back)
        """Give connections back, also while others read: such reads fail soon. May be repeated.

        Readers that are open must not be used afterwards.
        """
