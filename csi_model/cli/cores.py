"""How many processor cores are ours to use."""

import os
from contextlib import suppress
from pathlib import Path

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(cpu_max: Path = _CPU_MAX) -> int:
    """Return the cores that this process may run on, at least 1: fewer than the machine has, if it is limited to some.

    Args:
        cpu_max: where a container's limit stands, as "max 100000" or "400000 100000" (microseconds, of so many).

    """
    cores = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):  # no cgroup of version 2, or no limit
        quota, period = map(int, cpu_max.read_text().split())
        cores = min(cores, max(1, quota // period))
    return cores
