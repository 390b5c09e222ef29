"""The programs that a cluster is made of; ``python -m e2e.cluster.programs`` builds them all ahead.

Versions are pinned here. Building takes about twenty minutes once on two cores; CI builds beside its unit tests.
"""

import os
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench import fetch_tools
from hack import fetching

KUBERNETES = "v1.36.3"
ETCD = "v3.6.5"
PROVISIONER = "v6.4.0"
RESIZER = "v2.3.0"
HELM = "v3.22.0"
_PROVISIONER = "github.com/kubernetes-csi/external-provisioner/v6"  # the module
_PACKAGES = ("runc", "containerd", "containernetworking-plugins", "buildah", "debootstrap", "busybox-static")
# Kubernetes's go.mod replaces these by folders of its own repository; they are published as modules of their own
_STAGING = (
    "api", "apiextensions-apiserver", "apimachinery", "apiserver", "cli-runtime", "client-go", "cloud-provider",
    "cluster-bootstrap", "code-generator", "component-base", "component-helpers", "controller-manager", "cri-api",
    "cri-client", "cri-streaming", "csi-translation-lib", "dynamic-resource-allocation", "endpointslice",
    "externaljwt", "kms", "kube-aggregator", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl",
    "kubelet", "metrics", "mount-utils", "pod-security-admission", "sample-apiserver", "streaming",
)  # fmt: skip


@cache
def kubernetes() -> dict[str, Path]:
    """Return kube-apiserver and the rest; NotFetched."""
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
    return fetching.wrapped(
        "kubernetes",
        KUBERNETES,
        [f"k8s.io/kubernetes/cmd/{name}" for name in names],
        module="k8s.io/kubernetes",
        flags=_version_flags(),
        replace={f"k8s.io/{name}": KUBERNETES.replace("v1", "v0") for name in _STAGING},
    )


def _version_flags() -> str:
    """Say the version, without which helm's and others' checks of it fail."""
    _, minor, _ = KUBERNETES.split(".")
    facts = {"gitVersion": KUBERNETES, "gitMajor": "1", "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    settings = (f"-X {package}.{name}={value}" for package in packages for name, value in facts.items())
    return " ".join([fetching.STRIPPED, *settings])


@cache
def etcd() -> Path:
    module = "go.etcd.io/etcd/server/v3"
    return fetching.wrapped("etcd", ETCD, [module], module=module, replace={})["server"]


@cache
def provisioner() -> Path:
    packages = [f"{_PROVISIONER}/cmd/csi-provisioner"]
    return fetching.wrapped("csi-provisioner", PROVISIONER, packages, module=_PROVISIONER)["csi-provisioner"]


@cache
def resizer() -> Path:
    module, like = "github.com/kubernetes-csi/external-resizer/v2", f"{_PROVISIONER}@{PROVISIONER}"
    found = fetching.wrapped("csi-resizer", RESIZER, [f"{module}/cmd/csi-resizer"], module=module, like=like)
    return found["csi-resizer"]


@cache
def helm() -> Path:
    flags = f"{fetching.STRIPPED} -X helm.sh/helm/v3/internal/version.version={HELM}"
    return fetching.built("helm.sh/helm/v3/cmd/helm", HELM, flags)


@cache
def minio() -> Path:
    return fetch_tools.minio()


@dataclass(frozen=True, slots=True)
class Packages:
    """Debian packages, unpacked in a folder."""

    folder: Path

    def program(self, name: str) -> Path:
        return fetching.inside(self.folder, name)

    @property
    def cni_plugins(self) -> Path:
        return self.folder / "usr/lib/cni"

    def environment(self) -> dict[str, str]:
        """Return what programs of the folder need to find each other and their libraries."""
        programs = [str(self.folder / place) for place in ("usr/sbin", "usr/bin", "sbin", "bin")]
        libraries = [*self.folder.glob("usr/lib/*-linux-gnu"), *self.folder.glob("lib/*-linux-gnu")]
        return {
            "PATH": os.pathsep.join([*programs, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]),
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        }


@cache
def packages() -> Packages:
    return Packages(fetching.unpacked("deb-e2e", _PACKAGES, dependencies=True))


def fetch_all() -> None:
    """Fetch what is missing, saying how long it took; NotFetched."""
    for make in (packages, etcd, kubernetes, provisioner, resizer, helm, minio):
        begun = time.monotonic()
        make()
        print(f"{make.__name__}: {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    try:
        fetch_all()
    except fetching.NotFetched as failure:
        sys.exit(str(failure))
