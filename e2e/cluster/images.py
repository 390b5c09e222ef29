"""Container images made from single files, as archives that containerd imports; no registry, no build program."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import node_files, programs
from e2e.cluster.shell import run
from hack.fetching import CACHE, kept

BUSYBOX = "localhost/busybox:1"


@dataclass(frozen=True, slots=True)
class Image:
    """An image in an archive, with its name and a digest that changes with its content."""

    reference: str
    archive: Path
    digest: str


def pause() -> Image:
    program = programs.packages().program("busybox")
    return from_files(node_files.PAUSE, {"bin/busybox": program}, ["/bin/busybox", "sleep", "inf"])


def busybox() -> Image:
    program = programs.packages().program("busybox")
    links = {f"bin/{name}": "busybox" for name in run(program, "--list").split() if name != "busybox"}
    return from_files(BUSYBOX, {"bin/busybox": program}, ["/bin/sh"], links)


def provisioner() -> Image:
    reference = f"localhost/csi-provisioner:{programs.PROVISIONER}"
    return from_files(reference, {"csi-provisioner": programs.provisioner()}, ["/csi-provisioner"])


def resizer() -> Image:
    reference = f"localhost/csi-resizer:{programs.RESIZER}"
    return from_files(reference, {"csi-resizer": programs.resizer()}, ["/csi-resizer"])


def from_files(
    reference: str, files: Mapping[str, Path], entrypoint: Sequence[str], links: Mapping[str, str] | None = None
) -> Image:
    """Return an image that holds programs and symbolic links, and nothing else.

    Args:
        reference: its name and tag.
        files: where they come from, by path in the image.
        entrypoint: what runs.
        links: what they point to, by path in the image.

    """
    facts = [reference, list(entrypoint), links, {name: _digest(file) for name, file in files.items()}]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def make(folder: Path) -> None:
        _layer(folder / "layer.tar", files, links or {})
        _archive(folder / "image.tar", reference, entrypoint, folder / "layer.tar")
        (folder / "layer.tar").unlink()

    return Image(reference, kept_once(reference, digest, make) / "image.tar", digest)


def kept_once(reference: str, digest: str, make: Callable[[Path], None]) -> Path:
    """Keep what `make` makes, and drop what was kept of other versions of the image."""
    name = "image-" + reference.rpartition("/")[2].partition(":")[0]
    folder = kept(f"{name}-{digest[:16]}", "image.tar", make)
    for other in CACHE.glob(f"{name}-*"):
        if other.is_dir() and other != folder:
            shutil.rmtree(other)
    return folder


def _layer(file: Path, files: Mapping[str, Path], links: Mapping[str, str]) -> None:
    with tarfile.open(file, "w") as tar:
        for folder in ("bin", "tmp"):
            tar.addfile(_entry(folder, tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755))
        for name, source in files.items():
            entry = _entry(name, tarfile.REGTYPE, 0o755)
            entry.size = source.stat().st_size
            with source.open("rb") as content:
                tar.addfile(entry, content)
        for name, target in links.items():
            entry = _entry(name, tarfile.SYMTYPE, 0o777)
            entry.linkname = target
            tar.addfile(entry)


def _archive(file: Path, reference: str, entrypoint: Sequence[str], layer: Path) -> None:
    """Write it as `docker save` does."""
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}"]},
    }
    content = json.dumps(config).encode()
    name = hashlib.sha256(content).hexdigest() + ".json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": ["layer.tar"]}]
    with tarfile.open(file, "w") as tar:
        for path, data in ((name, content), ("manifest.json", json.dumps(manifest).encode())):
            entry = _entry(path, tarfile.REGTYPE, 0o644)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        tar.add(layer, "layer.tar")


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
