"""The driver's image, built from the project's own Dockerfile without a registry.

The Dockerfile's base is replaced by a minimal Debian with Python, made by debootstrap and kept. Its packages come from
the mirror that this machine uses, and the driver's from its Python package index.
"""

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from e2e.cluster import images, programs
from e2e.cluster.images import Image
from e2e.cluster.shell import CommandFailed, run
from hack.fetching import CACHE, kept, say

ROOT = Path(__file__).resolve().parent.parent
NAME = "localhost/csi-model"
_BASE = "docker.io/library/python:3.11-slim-bookworm"  # the name that the Dockerfile knows it by
_DEBIAN = "bookworm"
_INCLUDE = "ca-certificates,python3-minimal,python3-venv,python3-pip"
_UNNEEDED = ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
_CONTEXT = ("Dockerfile", ".dockerignore", "README.md", "hatch_build.py", "pyproject.toml", "requirements*.lock")
_MACHINE = (
    "/etc/ssl/certs",
    "/etc/pip.conf",
    "/etc/resolv.conf",
)  # so that pip in the build has this machine's way out
# Mounts and processes end with the command, whatever happens to us
_CONTAINED = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def driver() -> Image:
    """Return the image of the code as it is now; its tag changes with the code. NotFetched."""
    digest = _fingerprint()
    reference = f"{NAME}:{digest[:12]}"

    def make(folder: Path) -> None:
        try:
            _build(reference, folder / "image.tar")
        except CommandFailed as error:
            raise OSError(error) from error

    return Image(reference, images.kept_once(reference, digest, make) / "image.tar", digest)


def base() -> Path:
    """Return the base image's root file system as a tar archive; NotFetched."""
    return kept(f"base-{_DEBIAN}", "base.tar", _bootstrap) / "base.tar"


def _fingerprint() -> str:
    """Hash what the image is made from."""
    total = hashlib.sha256()
    for path in sorted(_sources()):
        total.update(f"{path.relative_to(ROOT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _sources() -> Iterator[Path]:
    for pattern in _CONTEXT:
        yield from ROOT.glob(pattern)
    for folder in ("csi_model", "csi-spec"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and "generated" not in path.parts:
                yield path


def _build(reference: str, archive: Path) -> None:
    say(f"building {reference} (about half a minute; the first time some minutes)")
    _tag_base()
    mounts = [f"--volume={path}:{path}:ro" for path in _MACHINE if Path(path).exists()]
    _buildah(
        "bud", "--quiet", "--pull-never", "--layers", "--isolation", "chroot", "--network", "host", *mounts,
        "--tag", reference, "--file", str(ROOT / "Dockerfile"), str(ROOT), timeout=1200,
    )  # fmt: skip
    _buildah("push", "--quiet", reference, f"docker-archive:{archive}:{reference}")
    _buildah("rmi", reference)  # its layers stay for the next build


def _tag_base() -> None:
    if _BASE in _buildah("images", "--format", "{{.Name}}:{{.Tag}}"):
        return
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        (Path(folder) / "base.tar").hardlink_to(base())
        (Path(folder) / "Dockerfile").write_text('FROM scratch\nADD base.tar /\nCMD ["/bin/bash"]\n')
        _buildah("bud", "--quiet", "--isolation", "chroot", "--tag", _BASE, folder)


def _buildah(command: str, *arguments: str | Path, timeout: float = 300.0) -> str:
    found = programs.packages()
    storage = CACHE / "buildah"
    config = found.folder / "etc/containers"
    storage.mkdir(exist_ok=True)
    settings = storage / "storage.conf"
    settings.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{storage}/root"\nrunroot = "{storage}/run"\n')
    more: dict[str, list[str | Path]] = {
        "bud": ["--signature-policy", config / "policy.json", "--security-opt", "seccomp=unconfined"],
        "push": ["--signature-policy", config / "policy.json"],
    }
    environment = {
        **os.environ, **found.environment(), "HOME": str(storage),
        "CONTAINERS_STORAGE_CONF": str(settings), "CONTAINERS_REGISTRIES_CONF": str(config / "registries.conf"),
        "CONTAINERS_CONF": str(found.folder / "usr/share/containers/containers.conf"),
    }  # fmt: skip
    words = [found.program("buildah"), command, *more.get(command, []), *arguments]
    return run(*_CONTAINED, *_with_libraries(found), *words, timeout=timeout, environment=environment)


def _with_libraries(found: programs.Packages) -> list[str]:
    """Lay the packages' libraries over the machine's: buildah's own children don't get LD_LIBRARY_PATH."""
    script = "".join(
        f"mount -t overlay -o lowerdir={folder}:/usr/lib/{folder.name} overlay /usr/lib/{folder.name} && "
        for folder in found.folder.glob("usr/lib/*-linux-gnu")
    )
    return ["sh", "-c", f'{script}exec "$@"', "sh"]


def _bootstrap(folder: Path) -> None:
    say(f"making a base image: Debian {_DEBIAN} with Python (about a minute, once)")
    found = programs.packages()
    root = folder / "root"
    mirror = run("apt-get", "indextargets", "--format", "$(SITE)").split()[0]
    environment = {
        **os.environ, **found.environment(), "DEBOOTSTRAP_DIR": str(found.folder / "usr/share/debootstrap")
    }  # fmt: skip
    run(
        *_CONTAINED, found.program("debootstrap"), "--variant=minbase", f"--include={_INCLUDE}", _DEBIAN, root, mirror,
        timeout=900, environment=environment,
    )  # fmt: skip
    for unneeded in _UNNEEDED:
        shutil.rmtree(root / unneeded, ignore_errors=True)
        (root / unneeded).mkdir(parents=True)
    with tarfile.open(folder / "base.tar", "w") as tar:
        tar.add(root, ".", filter=_without_devices)
    shutil.rmtree(root)


def _without_devices(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if entry.isdev() else entry
