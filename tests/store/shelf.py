"""Short words for what the store's tests do again and again."""

import hashlib
from dataclasses import replace

from csi_model.core.capability import AccessMode, Capability
from csi_model.core.checksum import Algorithm, Checksum
from csi_model.core.manifest import Entry, Manifest
from csi_model.core.treehash import chunk_count, chunk_digest, chunk_range
from csi_model.settings import StoreSettings
from csi_model.store.holds import Hold
from csi_model.store.store import Store

ORIGIN = "s3+https://s3.example.com/models"


def content(name, size):
    """Bytes that are the same whenever they are asked for, and differ between names and between chunks."""
    return (hashlib.shake_256(name.encode()).digest(min(size, 1 << 16)) * (size // (1 << 16) + 1))[:size]


def entry(path, size, *, pin="v1", key=None, sha256=None):
    checksum = None if sha256 is None else Checksum(Algorithm.SHA256, hashlib.sha256(sha256).hexdigest())
    return Entry(path, size, key or f"prefix/{path}", pin, checksum)


def model(name="model", *, sizes=(20_000, 9_000, 300, 0), origin=ORIGIN):
    """A manifest whose files have the content of their keys."""
    return Manifest.of(origin, [entry(f"part-{n}.bin", size, key=f"{name}/{n}") for n, size in enumerate(sizes)])


def write_chunks(ingest, data, indices=None):
    for index in range(chunk_count(len(data))) if indices is None else indices:
        start, end = chunk_range(index, len(data))
        chunk = memoryview(data)[start:end]
        ingest.write(start, chunk)
        ingest.land(index, digest=chunk_digest(chunk))


def put(store, item, data=None, *, origin=ORIGIN):
    """Bring one entry, by an ingest if it has several chunks."""
    data = content(item.key, item.size) if data is None else data
    if chunk_count(item.size) > 1:
        with store.ingest(origin, item) as ingest:
            write_chunks(ingest, data)
            return ingest.commit()
    batch = store.small_files(origin)
    batch.write(item, memoryview(data), digest=chunk_digest(data))
    batch.commit()
    return store.find(origin, item)


def stage(store, manifest):
    """Bring what is missing and assemble."""
    for item in manifest.entries:
        if item.size and store.find(manifest.origin, item) is None:
            put(store, item, origin=manifest.origin)
    return store.assemble(manifest)


def is_whole(store, manifest):
    """Whether a visible tree has every byte it should have."""
    root = store.layout.tree_root(manifest.digest)
    return all((root / item.path).read_bytes() == content(item.key, item.size) for item in manifest.entries)


def hold_of(manifest, volume_id="pvc-1", **changes):
    capability = Capability(AccessMode.MULTI_NODE_READER_ONLY, mount_flags=("noatime",))
    hold = Hold(
        volume_id, manifest.digest, f"/staging/{volume_id}", capability, {"source": "s3://models/m"},
        bytes=manifest.size, files=manifest.files, pin=False, capacity=manifest.size, since=1000.0,
    )  # fmt: skip
    return replace(hold, **changes)


class Shelf:
    """A root directory whose store can be closed and opened again."""

    def __init__(self, root, **settings):
        self.settings = StoreSettings(root, **{"high_watermark": 0.99, "low_watermark": 0.98, **settings})
        self.mounted = set()
        self.store = Store(self.settings, in_use=lambda: set(self.mounted))

    @property
    def layout(self):
        return self.store.layout

    def reopen(self):
        """What the next life of the agent sees; the old store just vanishes, as in a crash."""
        self.store.close()
        self.store = Store(self.settings, in_use=lambda: set(self.mounted))
        return self.store

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.store.close()
