"""PID 1 of a node: makes it look like a machine, then reaps what others leave. Runs alone, with the standard library.

Usage: node_init.py FOLDER HOSTNAME, in fresh mount, uts, ipc, pid, cgroup and network namespaces.

FOLDER has var-lib and var-log (the node's own), disk.img (mounted at /var/lib/csi-model) and sysctl/ (shown in place
of the machine's settings that kubelet would else change for everybody).
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
V1 = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")
STORE = Path("/var/lib/csi-model")


def main() -> None:
    folder, hostname = Path(sys.argv[1]), sys.argv[2]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    call("mount", "--make-rprivate", "/")  # nothing that we mount leaks to the machine
    call("hostname", hostname)
    make_sys(unified=(CGROUPS / "cgroup.controllers").exists())
    call("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    call("mount", "--bind", folder / "var-lib", "/var/lib")
    call("mount", "--bind", folder / "var-log", "/var/log")
    STORE.mkdir(exist_ok=True)
    call("mount", "-o", "loop", folder / "disk.img", STORE)  # the loop device goes when this namespace does
    for file in (folder / "sysctl").iterdir():
        call("mount", "--bind", file, "/proc/sys/" + file.name.replace(".", "/"))
    call("mount", "--make-rshared", "/")  # and inside the node all is shared, which Bidirectional needs
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    Path("/run/node-is-up").touch()
    reap()


def make_sys(*, unified: bool) -> None:
    """Mount /sys anew: it shows this network namespace, and control groups from the node's own down."""
    call("umount", "-l", "/sys/fs/cgroup")
    call("mount", "-t", "sysfs", "sysfs", "/sys")
    if unified:
        call("mount", "-t", "cgroup2", "cgroup2", CGROUPS)
        (CGROUPS / "init").mkdir(exist_ok=True)
        (CGROUPS / "init/cgroup.procs").write_text(str(os.getpid()))
        for controller in (CGROUPS / "cgroup.controllers").read_text().split():
            (CGROUPS / "cgroup.subtree_control").write_text(f"+{controller}")
        return
    call("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", CGROUPS)
    for name, option in [*((controller, controller) for controller in V1), ("systemd", "none,name=systemd")]:
        (CGROUPS / name).mkdir()
        call("mount", "-t", "cgroup", "-o", option, "cgroup", CGROUPS / name)


def reap() -> None:
    while signal.sigwait({signal.SIGCHLD, signal.SIGTERM}) == signal.SIGCHLD:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            continue


def call(*command: str | Path) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
