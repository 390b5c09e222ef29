"""A node's files: its disks, and what containerd, kubelet and the network plugins are told."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e.cluster import place, programs
from e2e.cluster.pki import Pki
from e2e.cluster.shell import run

SOCKET = "/run/containerd/containerd.sock"
PAUSE = "localhost/pause:1"
# What kubelet wants, VM-wide; it finds it set, and changes nothing
_SYSCTLS = {
    "vm.overcommit_memory": "1",
    "vm.panic_on_oom": "0",
    "kernel.panic": "10",
    "kernel.panic_on_oops": "1",
    "kernel.keys.root_maxkeys": "1000000",
    "kernel.keys.root_maxbytes": "25000000",
}


def make(folder: Path, number: int, pki: Pki, disk: int, taints: Sequence[Mapping[str, str]] = ()) -> None:
    """Make what a new node finds; CommandFailed.

    Args:
        folder: the node's.
        number: of the node.
        pki: where its certificates are.
        disk: bytes of the disk that holds the store; the file is sparse.
        taints: which it has when it registers for the first time.

    """
    for name in ("var-lib", "var-log", "sysctl", "network", "log"):
        (folder / name).mkdir(parents=True)
    for name, value in _SYSCTLS.items():
        (folder / "sysctl" / name).write_text(f"{value}\n")
    make_disk(folder / "disk.img", disk)
    (folder / "containerd.toml").write_text(_containerd(folder / "network"))
    (folder / "kubelet.json").write_text(json.dumps(_kubelet(place.node_name(number), pki, taints), indent=2))
    (folder / "network" / "10-bridge.conflist").write_text(json.dumps(_network(number)))


def make_disk(file: Path, size: int) -> None:
    with file.open("wb") as image:
        image.truncate(size)
    run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", file)


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _containerd(network: Path) -> str:
    found = programs.packages()
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[{cri}]
  sandbox_image = "{PAUSE}"
  # Where CAP_SYS_RESOURCE is missing, runc can't lower oom_score_adj, and no container would start
  restrict_oom_score_adj = true
[{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
  BinaryName = "{found.program("runc")}"
[{cri}.cni]
  bin_dir = "{found.cni_plugins}"
  conf_dir = "{network}"
"""


def _kubelet(name: str, pki: Pki, taints: Sequence[Mapping[str, str]]) -> dict[str, object]:
    nothing = {f"{disk}.{what}": "0%" for disk in ("nodefs", "imagefs") for what in ("available", "inodesFree")}
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "failSwapOn": False,
        "cgroupDriver": "cgroupfs",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki.ca)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki.certificate(f"{name}-server")),
        "tlsPrivateKeyFile": str(pki.key(f"{name}-server")),
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",  # the default isn't the node's own
        "resolvConf": "",
        # The disk is the machine's: how full it is must not evict pods
        "evictionHard": {"memory.available": "50Mi", **nothing},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "maxPods": 60,
        "registerWithTaints": list(taints),
        "nodeStatusUpdateFrequency": "5s",
        "nodeLeaseDurationSeconds": 12,  # renewed every quarter of it
    }


def _network(number: int) -> dict[str, object]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": place.pod_network(number)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return {"cniVersion": "1.0.0", "name": "e2e", "plugins": [bridge]}
