"""What the machine has to offer for a cluster to run on it."""

import os
import shutil
import subprocess
from pathlib import Path

from e2e.cluster import cgroups

_COMMANDS = {
    "ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux", "losetup": "mount", "mount": "mount",
    "hostname": "hostname", "mkfs.ext4": "e2fsprogs", "dpkg-deb": "dpkg", "apt-get": "apt",
}  # fmt: skip


def missing() -> list[str]:
    """Return a sentence for each thing that is missing; none if a cluster can run here."""
    if os.geteuid() != 0:
        return ["root: nodes are namespaces with mounts and control groups of their own"]
    found = [f"the command {name} (Debian: {package})" for name, package in _COMMANDS.items() if not shutil.which(name)]
    if controllers := cgroups.missing():
        found.append(f"the control group controllers {', '.join(controllers)} under {cgroups.ROOT}")
    if not Path("/dev/loop-control").exists():
        found.append("loop devices (/dev/loop-control)")
    if "overlay" not in Path("/proc/filesystems").read_text():
        found.append("the overlay file system")
    if not found and subprocess.run(["unshare", "-mnpuiC", "--fork", "true"], check=False).returncode != 0:
        found.append("the right to make namespaces")
    return found
