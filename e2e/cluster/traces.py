"""What a cluster has left on the machine; ``python -m e2e.cluster.traces`` lists it and fails if there is any."""

import json
import os
import sys
from pathlib import Path

from e2e.cluster import cgroups, network, place
from e2e.cluster.node import loop_devices
from e2e.cluster.shell import run

_SYSCTLS = (
    "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward",
    "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
)  # fmt: skip


def left() -> list[str]:
    """Return a line for each process, mount, namespace, interface, control group, device and file that is left."""
    return [
        *(f"network namespace {name}" for name in network.namespaces()),
        *(f"interface {name}" for name in _interfaces()),
        *(f"control group {name}" for name in cgroups.left()),
        *(f"loop device {name}" for name in loop_devices(place.STATE)),
        *(f"mount {target}" for target in _mounts()),
        *_processes(),
        *_files(),
    ]


def sysctls() -> dict[str, str]:
    """Return the settings that Kubernetes is known to change."""
    return {name: Path("/proc/sys", name).read_text().strip() for name in _SYSCTLS if Path("/proc/sys", name).exists()}


def changed(before: dict[str, str]) -> list[str]:
    """Return a line for each setting that isn't what it was."""
    now = sysctls()
    return [f"sysctl {name}: was {old}, is {now[name]}" for name, old in before.items() if now[name] != old]


def _interfaces() -> list[str]:
    names = [str(one["ifname"]) for one in json.loads(run("ip", "-json", "link"))]
    return [name for name in names if name.startswith(f"{place.PREFIX}-")]


def _mounts() -> list[str]:
    targets = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [target for target in targets if target.startswith(str(place.STATE)) or place.PREFIX in target]


def _processes() -> list[str]:
    """Find what runs from or for the state folder, by its words; ourselves and our parents don't count."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        state = os.fsencode(place.STATE)
        if any(word.startswith((state + b"/", b"--")) and state + b"/" in word for word in words):
            found.append(f"process {entry.name}: {b' '.join(words).decode(errors='replace')[:150]}")
    return found


def _files() -> list[str]:
    kept = {"lock", "failures", "users"}
    return [f"file {path}" for path in place.STATE.glob("*") if path.name not in kept]


if __name__ == "__main__":
    lines = left()
    print(*lines, sep="\n", end="\n" if lines else "")
    sys.exit(1 if lines else 0)
