"""The programs that the benchmark compares with and serves from, taken from package registries and kept.

MinIO and rclone are Go modules; nginx, curl and FUSE's mount program are the distribution's packages. Only the first
run waits (MinIO and rclone take about five minutes each to compile on two cores).
"""

import os
from pathlib import Path

from hack import fetching
from hack.fetching import NotFetched

__all__ = ["NotFetched", "minio", "packaged", "rclone", "search_path"]

MINIO = ("github.com/minio/minio", "v0.0.0-20260212201848-7aac2a2c5b7c")
RCLONE = ("github.com/rclone/rclone", "v1.76.0")
_PACKAGES = {"nginx": "nginx", "curl": "curl", "fusermount3": "fuse3"}


def minio() -> Path:
    """Return the MinIO server, built once per version; NotFetched."""
    return fetching.built(*MINIO)


def rclone() -> Path:
    """Return rclone, built once per version; NotFetched."""
    return fetching.built(*RCLONE)


def packaged(program: str) -> Path:
    """Return nginx, curl or fusermount3: this machine's own or else the distribution's package; NotFetched."""
    return fetching.packaged(program, _PACKAGES[program])


def search_path(*programs: Path) -> str:
    """Return a PATH on which these programs come first."""
    folders = dict.fromkeys(str(program.parent) for program in programs)
    return os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
