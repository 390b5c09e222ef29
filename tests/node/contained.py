"""One life of an agent's container: kubelet's directory comes in with Bidirectional propagation, the store as it is.

python -m tests.node.contained HOST CONTAINER bind|unmount|look

It mounts as a container runtime does (recursively, so that mounts which are there already come along), then does one
thing to the target, and tells what its own mount table says of it.
"""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

from csi_model.node.linux_mounts import LinuxMounts
from csi_model.store.layout import Layout

MANIFEST = "ab" * 32
TARGET = Path("kubelet/pods/pod-1/volumes/kubernetes.io~csi/pv-1/mount")
_CLONE_NEWNS = 0x00020000


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


def enter(host, container):
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    mount("--rbind", host / "kubelet", container / "kubelet")
    mount("--make-rshared", container / "kubelet")
    mount("--rbind", host / "csi-model", container / "csi-model")
    mount("--make-rprivate", container / "csi-model")
    mount("--rbind", host, container / "host")  # the directory above the store's disk, with HostToContainer
    mount("--make-rslave", container / "host")


def main():
    host, container, action = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    enter(host, container)
    mounts, layout, target = LinuxMounts(), Layout(container / "csi-model" / "store"), container / TARGET
    if action == "bind":
        mounts.bind_read_only(layout.tree_root(MANIFEST), target)
    if action == "unmount":
        mounts.unmount(target)
    table = mounts.table()
    found = table.get(target)
    print(
        json.dumps(
            {
                "target": found and {"in_use": layout.in_use(found.root), "read_only": found.read_only},
                "anywhere": any(
                    layout.in_use(one.root) for path, one in table.items() if path.is_relative_to(container)
                ),
                "disk": container / "host" / "csi-model" in table,
            }
        )
    )


if __name__ == "__main__":
    main()
