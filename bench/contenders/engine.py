"""csi-model's engine alone, in this process: what a warm-up does, with no call around it."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from bench.contenders import Job, Verdict, run
from csi_model.core.globs import Selection
from csi_model.core.manifest import Entry, Manifest
from csi_model.core.reference import Reference
from csi_model.settings import StoreSettings, TransferSettings
from csi_model.sources.base import Abort, Access, Source
from csi_model.sources.http import Target, read_range
from csi_model.sources.http_pool import HttpPool
from csi_model.store import memory
from csi_model.store.store import Store
from csi_model.transfer.engine import Engine
from csi_model.transfer.meter import Meter


class Urls(Source):
    """Files that only have URLs: there is no such source in the driver yet. Pins nothing, so only for a benchmark."""

    def __init__(self, job: Job) -> None:
        self.origin = f"http:{job.base}"
        self._files = {file.path: file for file in job.files}
        self._pool = HttpPool(Path(job.ca) if job.ca else None)

    def _entries(self, reference: Reference, selection: Selection) -> Iterable[Entry]:  # noqa: ARG002 - contract's
        return [Entry(file.path, file.size, file.url, "none") for file in self._files.values()]

    def _prove_read(self, entry: Entry) -> None:
        """The first range will tell."""

    @contextmanager
    def open(self, entry: Entry) -> Iterator["Urls._Reader"]:
        yield Urls._Reader(self._pool, Target(self._files[entry.path].url, entry.size))

    def close(self) -> None:
        self._pool.close()

    class _Reader:
        def __init__(self, pool: HttpPool, target: Target) -> None:
            self._pool, self._target = pool, target

        def read(self, start: int, views: Sequence[memoryview], abort: Abort | None = None) -> Iterator[memoryview]:
            return read_range(self._pool, self._target, start, views, abort)


def source_of(job: Job) -> Source:
    if not job.endpoint:
        return Urls(job)
    from csi_model.sources.s3 import S3Source  # noqa: PLC0415 - memory that only S3 needs

    secrets = {"accessKeyId": job.access_key, "secretAccessKey": job.secret_key}
    access = Access(endpoint=job.endpoint, secrets=secrets, ca_bundle=Path(job.ca) if job.ca else None)
    return S3Source(Reference("s3", job.bucket, job.prefix), access)


def contend(job: Job) -> Iterator[Verdict | None]:
    """As for a pod that waits: what NodeStage does, without the driver around it."""
    yield from bring(job, urgent=True)


def bring(job: Job, *, urgent: bool) -> Iterator[Verdict | None]:
    settings = StoreSettings(job.dest / "store", high_watermark=0.99, low_watermark=0.98)
    with closing(Store(settings)) as store, closing(source_of(job)) as source:
        manifest = source.resolve(Reference("s3", job.bucket, job.prefix), Selection())
        store.make_shards()  # as the agent does after its start
        engine = Engine(store, TransferSettings(streams=job.streams), memory.room)
        yield None
        with store.wanted(manifest):
            store.save_manifest(manifest)
            meter = Meter(manifest.size, manifest.files)
            engine.bring(manifest, source, meter, threading.Event(), urgent=lambda: urgent)
            tree = store.assemble(manifest)
        how = "kept in memory" if urgent else "O_DIRECT"
        yield Verdict(note=f"{job.streams} streams at first, {how}", verified=verified_of(manifest), root=tree)


def verified_of(manifest: Manifest) -> str:
    """Say what an arrival was checked against: our own tree hash, and the source's sums as far as it has them."""
    sums = {entry.checksum.algorithm.value for entry in manifest.entries if entry.checksum is not None}
    return "+".join(["tree", *sorted(sums)])


if __name__ == "__main__":
    run(contend)
