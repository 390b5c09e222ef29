"""The programs that the benchmark compares with and serves from, taken from package registries and kept.

MinIO and rclone are Go modules; nginx, curl and FUSE's mount program are the distribution's packages, unpacked but
not installed: no root needed, no service started. All of it stays in ``${XDG_CACHE_HOME:-~/.cache}/csi-model``, by
version, so that only the first run waits (MinIO and rclone take about five minutes each to compile on two cores).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hack.csi_sanity import CACHE, environment, go

MINIO = ("github.com/minio/minio", "v0.0.0-20260212201848-7aac2a2c5b7c")
RCLONE = ("github.com/rclone/rclone", "v1.76.0")
_PACKAGES = {"nginx": "nginx", "curl": "curl", "fusermount3": "fuse3"}


class NotFetched(Exception):
    """A program couldn't be had; the text says which and why."""


def minio() -> Path:
    """Return the MinIO server, built once per version; NotFetched."""
    return _built(*MINIO)


def rclone() -> Path:
    """Return rclone, built once per version; NotFetched."""
    return _built(*RCLONE)


def packaged(program: str) -> Path:
    """Return nginx, curl or fusermount3: this machine's own or else the distribution's package; NotFetched."""
    return _own(program) or _unpacked(_PACKAGES[program], program)


def search_path(*programs: Path) -> str:
    """Return a PATH on which these programs come first."""
    folders = dict.fromkeys(str(program.parent) for program in programs)
    return os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])


def _built(module: str, version: str) -> Path:
    name = module.rpartition("/")[2]
    binary = CACHE / f"{name}-{version}" / name
    if not binary.exists():
        _say(f"building {name} {version} (some minutes, once)")
        binary.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Installed beside and renamed: an interrupted build leaves nothing that looks finished
            with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
                arguments = [go(), "install", "-trimpath", f"{module}@{version}"]
                subprocess.run(arguments, env=environment(GOBIN=folder, GOFLAGS="-mod=mod"), check=True)
                (Path(folder) / name).rename(binary)
        except (OSError, subprocess.CalledProcessError) as error:
            raise NotFetched(f"{name} {version} couldn't be built: {error}") from error
    return binary


def _own(program: str) -> Path | None:
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    return Path(found) if found else None


def _unpacked(package: str, program: str) -> Path:
    folder = CACHE / f"deb-{package}"
    if not folder.exists():
        _say(f"taking {program} from the package {package}")
        CACHE.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                _download(package, Path(scratch))
                unpacked = Path(scratch) / "unpacked"
                for archive in Path(scratch).glob("*.deb"):
                    subprocess.run(["dpkg-deb", "-x", archive, unpacked], check=True)
                unpacked.rename(folder)
        except (OSError, subprocess.CalledProcessError) as error:
            raise NotFetched(f"the package {package} couldn't be had: {error}") from error
    for place in ("usr/sbin", "usr/bin", "bin", "sbin"):
        if (folder / place / program).exists():
            return folder / place / program
    raise NotFetched(f"the package {package} has no {program}")


def _download(package: str, folder: Path) -> None:
    command = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package]
    if subprocess.call(command, cwd=folder, stderr=subprocess.DEVNULL) != 0:
        subprocess.call(["apt-get", "update", "-qq"])  # lists are missing or old
        subprocess.run(command, cwd=folder, check=True)


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
