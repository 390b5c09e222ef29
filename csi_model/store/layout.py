"""Every path of a store; nobody else joins paths.

::

    <root>/                           mode 0700
      VERSION                         version of this layout
      LOCK                            flock: one agent owns the store
      admin.sock                      the running agent's admin socket
      ingest/<key>/{data,ledger}      unfinished writes; resumed by the next one who wants them
      blobs/ab/cdef…                  immutable bytes by Digest, mode 0444
      blobs/ab/cdef….1                a second file of the same bytes, once the first has all the links it can
      blobs/ab/cdef….chunks           digests of its chunks (32 bytes each), if it has more than one
      known/ab/cdef…                  what was fetched once, (Origin, key, pin, size) → Digest: a symbolic link whose
                                      text is the Digest in base64
      manifests/<sha256>.json         canonical manifests, so that a staged model needs no network
      trees/<manifest sha256>/        appears by one rename; exists ⇔ the Revision is staged
        root/…                        the Manifest's paths: what pods see
        index                         path → Digest, a line each
        pinned                        present if the copy is evicted last
      holds/<sha256 of volume id>     one per staged or inline volume
      assembly/<name>                 whatever is being written before its rename; set aside when the agent starts
      trash/<name>                    renamed here first, deleted after

The link count is the reference count: a Blob may go when no Tree links to it and no running plan names it.
Files under SMALL bytes are copied into trees, not linked.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from csi_model.core.treehash import is_digest

VERSION = "1"
SMALL = 4096
"""Bytes below which a file is copied into a tree: it takes one block either way, and configs that many models
share would run into the file system's limit of links to one file."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths under one root."""

    root: Path

    @property
    def version(self) -> Path:
        return self.root / "VERSION"

    @property
    def lock(self) -> Path:
        return self.root / "LOCK"

    @property
    def admin_socket(self) -> Path:
        return self.root / "admin.sock"

    @property
    def ingests(self) -> Path:
        return self.root / "ingest"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def knowns(self) -> Path:
        return self.root / "known"

    @property
    def manifests(self) -> Path:
        return self.root / "manifests"

    @property
    def trees(self) -> Path:
        return self.root / "trees"

    @property
    def holds(self) -> Path:
        return self.root / "holds"

    @property
    def assembly(self) -> Path:
        return self.root / "assembly"

    @property
    def trash(self) -> Path:
        return self.root / "trash"

    @property
    def directories(self) -> tuple[Path, ...]:
        """All directories that a store has from its first moment."""
        return (
            self.ingests, self.blobs, self.knowns, self.manifests, self.trees, self.holds, self.assembly, self.trash,
        )  # fmt: skip

    def ingest(self, name: str) -> Path:
        return self.ingests / name

    def data(self, ingest: Path) -> Path:
        return ingest / "data"

    def ledger(self, ingest: Path) -> Path:
        return ingest / "ledger"

    def discarded(self, path: Path) -> Path:
        """Return a free place in the trash for a path; its name begins with the path's own, and never repeats."""
        return self.trash / f"{path.name}.{token_hex(8)}"

    def blob(self, digest: str, copy: int = 0) -> Path:
        """Return the blob's file; ``copy`` counts further files of the same bytes."""
        return Path(self.blob_text(digest, copy))

    def blob_text(self, digest: str, copy: int = 0) -> str:
        """Return the same as a string: for a hundred thousand files, pathlib takes longer than the file system."""
        return f"{self.root}/blobs/{digest[:2]}/{digest[2:]}" + (f".{copy}" if copy else "")

    def chunks(self, digest: str) -> Path:
        return self.blobs / digest[:2] / f"{digest[2:]}.chunks"

    def shards(self) -> Iterator[Path]:
        """Yield the directories that blobs and notes lie in."""
        for parent in (self.blobs, self.knowns):
            for number in range(256):
                yield parent / f"{number:02x}"

    def known(self, name: str) -> str:
        """Return a note's path, as a string for the same reason as :meth:`blob_text`."""
        return f"{self.root}/known/{name[:2]}/{name[2:]}"

    def in_use(self, mount_root: Path) -> str | None:
        """Tell which entry of ``trees/`` or ``trash/`` a mount shows, from mountinfo's root field; None if neither.

        The root is a path within the file system, so how it begins isn't known. A mount may show a part of a tree
        (a pod's subPath), or a directory that has been deleted (mountinfo appends a word to its path).
        """
        parts = mount_root.parts
        for place, name, inside in zip(parts, parts[1:], parts[2:], strict=False):
            if place in ("trees", "trash") and inside == "root" and is_digest(name.partition(".")[0]):
                return name
        return None

    def manifest(self, digest: str) -> Path:
        return self.manifests / f"{digest}.json"

    def tree(self, manifest: str) -> Path:
        return self.trees / manifest

    def tree_root(self, manifest: str) -> Path:
        """Return the directory that is bound onto targets."""
        return self.trees / manifest / "root"

    def index(self, manifest: str) -> Path:
        return self.trees / manifest / "index"

    def pinned(self, manifest: str) -> Path:
        return self.trees / manifest / "pinned"

    def hold(self, volume_id: str) -> Path:
        """Volume ids are free text, so a hash names the file."""
        return self.holds / hashlib.sha256(volume_id.encode(errors="surrogatepass")).hexdigest()
