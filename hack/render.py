#!/usr/bin/env python3
"""Render manifests/install.yaml from the chart: for clusters without Helm.

Usage: hack/render.py [--helm PATH] [--check]

With --check nothing is written; the exit code says whether the file is what the chart gives.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "manifests" / "chart"
TARGET = ROOT / "manifests" / "install.yaml"
NAMESPACE = "csi-model"
TESTED = "1.36.3"
"""The Kubernetes version that is assumed; the templates don't ask for it, but the chart's kubeVersion does."""
HEADER = f"""\
# csi-model for Kubernetes, rendered from manifests/chart by `make manifests`: edit the chart, not this file.
# Before you apply it: put your image's name where it says localhost/csi-model.
---
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    # The node agent is privileged, since mounts that reach the host have to be made by a privileged container.
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/audit: privileged
    pod-security.kubernetes.io/warn: privileged
"""


def rendered(helm: str) -> str:
    """Return what install.yaml should be."""
    if shutil.which(helm) is None:
        sys.exit(f"{helm} isn't here: install Helm 3, or say where it is (make manifests HELM=path)")
    command = [helm, "template", "csi-model", CHART, "--namespace", NAMESPACE, "--kube-version", TESTED]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"helm template failed: {result.stderr.strip()}")
    lines = (line.rstrip() for line in result.stdout.splitlines())
    return HEADER + "".join(f"{line}\n" for line in lines if line)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--helm", default="helm", help="the helm program (default: %(default)s)")
    arguments.add_argument("--check", action="store_true", help="compare instead of writing")
    given = arguments.parse_args()
    text = rendered(given.helm)
    if not given.check:
        TARGET.write_text(text)
        print(f"wrote {TARGET.relative_to(ROOT)}")
    elif TARGET.read_text() != text:
        sys.exit("manifests/install.yaml isn't what the chart gives: run `make manifests`")


if __name__ == "__main__":
    main()
