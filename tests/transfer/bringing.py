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
PATIENCE = 30.0  # seconds after which a test counts as hung
QUICK = TransferSettings(streams=4, backoff_initial=0.0, backoff_max=0.0)


def content(size, seed=0):
    return random.Random(f"{seed}/{size}").randbytes(size)


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


def bring(engine, manifest, source, *, stop=None):
    """Run one transfer; returns its final progress."""
    meter = Meter(manifest.size, manifest.files)
    with engine.store.wanted(manifest):  # as its caller promises
        within(engine.bring, manifest, source, meter, stop or threading.Event())
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


def engine_on(store, settings=QUICK):
    return Engine(store, settings)


def here(store, manifest):
    """Return path → bytes of the entries that are visible."""
    found = {entry.path: store.find(manifest.origin, entry) for entry in manifest.entries}
    return {path: store.layout.blob(digest).read_bytes() for path, digest in found.items() if digest}


def buffers_back(engine):
    """Tell how many buffers of the pool can be had now."""
    taken = []
    while (buffer := engine.buffers.take(lambda: True)) is not None:
        taken.append(buffer)
    for buffer in taken:
        engine.buffers.give_back(buffer)
    return len(taken)


def chunk_reads(source, path):
    """Return the indices of the chunks of a file that were asked for, with repetitions."""
    return sorted(start // chunk_range(0, 1 << 60)[1] for name, start, _ in source.reads if name == path)
