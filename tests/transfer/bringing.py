"""What the engine's tests share: sources with content, one transfer, and what is there afterwards."""

import random
import threading
import zlib
from concurrent.futures import Future
from dataclasses import replace

from csi_model.core.checksum import Algorithm, Checksum
from csi_model.core.globs import Selection
from csi_model.core.manifest import Manifest
from csi_model.core.reference import Reference
from csi_model.core.treehash import chunk_range
from csi_model.settings import TransferSettings
from csi_model.transfer.engine import Engine
from csi_model.transfer.meter import Meter
from tests.fakes.source import FakeSource

SMALL_CHUNK = 64 * 1024
SMALL_BLOCK = 16 * 1024
PATIENCE = 30.0  # seconds after which a test counts as hung


def quick(streams, **changes):
    """Settings with a fixed number of streams that don't wait between two tries."""
    fixed = {"streams": streams, "streams_most": streams, "backoff_initial": 0.0, "backoff_max": 0.0}
    return TransferSettings(**{**fixed, **changes})


QUICK = quick(4)
ONE_STREAM = quick(1, run_chunks=1)


def content(size, seed=0):
    return random.Random(f"{seed}/{size}").randbytes(size)


SIZES = [0, 1, 4095, 4096, SMALL_CHUNK - 1, SMALL_CHUNK, SMALL_CHUNK + 1, 3 * SMALL_CHUNK + 5]
MODEL = {f"file-{size}": content(size) for size in SIZES}
"""One file of each size that is special."""
FILLED = {path: data for path, data in MODEL.items() if data}
"""Those of them that have a byte."""
LARGE = {"weights": content(6 * SMALL_CHUNK + 1)}
"""One file of seven chunks."""
TWO_STREAMS = quick(2, run_chunks=1, buffer_bytes=2 * SMALL_CHUNK)
"""Two streams, a chunk at a time, and no more memory than two chunks."""


def source_of(files, **options):
    return FakeSource({f"qwen/{path}": data for path, data in files.items()}, **options)


def manifest_of(source):
    return source.resolve(Reference("s3", "models", "qwen"), Selection())


def with_crc32(manifest, files):
    """State CRC-32 values, which chunks can be summed for in any order."""
    entries = [
        replace(entry, checksum=Checksum(Algorithm.CRC32, f"{zlib.crc32(files[entry.path]):08x}"))
        for entry in manifest.entries
    ]
    return Manifest.of(manifest.origin, entries)


def bring(engine, manifest, source, *, stop=None, urgent=lambda: False):
    """Run one transfer; returns its final progress."""
    meter = Meter(manifest.size, manifest.files)
    with engine.store.wanted(manifest):  # as its caller promises
        within(engine.bring, manifest, source, meter, stop or threading.Event(), urgent)
    return meter.progress()


def within(function, *arguments):
    """Call a function in a thread, so that one that hangs fails the test instead."""
    answer = begin(function, *arguments)
    return answer.result(PATIENCE)


def begin(function, *arguments):
    """Call a function in a thread of its own; returns the Future of its answer."""
    answer = Future()

    def run():
        try:
            answer.set_result(function(*arguments))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer


def engine_on(store, settings=QUICK, **options):
    return Engine(store, settings, **options)


def here(store, manifest):
    """Return path → bytes of the entries that are visible."""
    found = {entry.path: store.find(manifest.origin, entry) for entry in manifest.entries}
    return {path: store.layout.blob(digest).read_bytes() for path, digest in found.items() if digest}


def nothing_in_use(engine):
    """Tell whether all memory came back."""
    return engine.streams.buffers.in_use() == 0


def chunk_reads(source, path):
    """Return the indices of the chunks of a file that were asked for, with repetitions."""
    chunk = chunk_range(0, 1 << 60)[1]
    reads = [(start, start + length) for name, start, length in source.reads if name == path]
    return sorted(index for start, end in reads for index in range(start // chunk, -(-end // chunk)))
