"""The pod's side: another process opens the published files by mmap and checks what they hold.

``python -m csi_model.demo.reader DIRECTORY [EXPECTED]`` prints one JSON document: files, tensors and bytes read, and
how many tensors were compared. EXPECTED is a JSON file: path → tensor → BLAKE3. Without it every page of every file
is read, and of safetensors files every tensor's place is checked. Exits with 1 and one line if something is wrong.
"""

import json
import mmap
import sys
from pathlib import Path
from typing import Any

from blake3 import blake3
from safetensors import SafetensorError, safe_open

from csi_model.demo.model import digest_of_tensor


class Wrong(Exception):
    """The files don't hold what they should."""


def read_all(directory: Path, expected: dict[str, dict[str, str]] | None) -> dict[str, int]:
    """Read a published model.

    Raises:
        Wrong: a tensor is missing or differs, or a file is no safetensors file although it is called so.

    """
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    found = {"files": len(files), "bytes": 0, "tensors": 0, "compared": 0}
    missing = [name for name in expected or {} if not (directory / name).is_file()]
    if missing:
        raise Wrong(f"{', '.join(missing)} is not there")
    for path in files:
        found["bytes"] += path.stat().st_size
        tensors = (expected or {}).get(str(path.relative_to(directory)))
        if tensors is not None:
            found["tensors"] += _compare(path, tensors)
            found["compared"] += len(tensors)
        else:
            _read_pages(path)
            found["tensors"] += _count_tensors(path) if path.suffix == ".safetensors" else 0
    return found


def _compare(path: Path, expected: dict[str, str]) -> int:
    with _opened(path) as file:
        names = set(file.keys())
        if names != expected.keys():
            raise Wrong(f"{path.name} has other tensors than it should: {sorted(names ^ expected.keys())[:3]}")
        for name, digest in expected.items():
            if digest_of_tensor(file.get_tensor(name)) != digest:
                raise Wrong(f"tensor {name} in {path.name} has other values than it should")
        return len(names)


def _count_tensors(path: Path) -> int:
    with _opened(path) as file:
        return len(list(file.keys()))


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="numpy")  # maps the file and checks every tensor's place in it
    except SafetensorError as error:
        raise Wrong(f"{path.name} is not a sound safetensors file: {error}") from error


def _read_pages(path: Path) -> None:
    if path.stat().st_size:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
            blake3(pages)  # touches every byte


def main() -> int:
    """Read what the command line names."""
    directory, *rest = sys.argv[1:]
    expected = json.loads(Path(rest[0]).read_text()) if rest else None
    try:
        found = read_all(Path(directory), expected)
    except (Wrong, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
