"""Manifests of a given size."""

import hashlib
import zlib

from csi_model.core.manifest import Entry, Manifest


def manifest_of(size):
    """Return one that takes nearly so many bytes compressed."""

    def made(files):
        numbers = (hashlib.sha256(b"%d" % n).hexdigest() for n in range(files))
        return Manifest.of("s3|models", [Entry(f"{n}.bin", 1, f"{n}.bin", f"etag:{n}") for n in numbers])

    def takes(manifest):
        return len(zlib.compress(manifest.canonical, 9))

    each = takes(made(2000)) / 2000
    files = int(size / each)
    while takes(made(files)) > size:
        files -= 20
    return made(files)
