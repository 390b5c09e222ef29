"""On what it was measured: figures mean little without it."""

import os
import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_CPUINFO, _MEMINFO, _MOUNTS = Path("/proc/cpuinfo"), Path("/proc/meminfo"), Path("/proc/self/mounts")


@dataclass(frozen=True, slots=True)
class Machine:
    """Processors, memory in GiB, kernel, the filesystem that was written to, and Python's version."""

    cpu: str
    cores: int
    sha_ni: bool
    memory_gib: float
    kernel: str
    filesystem: str
    python: str

    @property
    def in_words(self) -> str:
        """One line for a caption."""
        return f"{self.cores} cores ({self.cpu}), {self.memory_gib:.0f} GiB, Linux {self.kernel}, {self.filesystem}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def machine(work: Path) -> Machine:
    """Describe this machine; ``work`` lies on the disk that is written to."""
    cpuinfo = _CPUINFO.read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)
    return Machine(
        cpu=model[1].strip() if model else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        sha_ni=" sha_ni" in cpuinfo,
        memory_gib=int(memory[1]) / 1024**2 if memory else 0.0,
        kernel=platform.release().partition("-")[0],
        filesystem=filesystem(work, _MOUNTS.read_text()),
        python=platform.python_version(),
    )


def filesystem(path: Path, mounts: str) -> str:
    """Return the type of the filesystem that holds an absolute path, given the text of /proc/self/mounts."""
    found = "unknown", 0
    for line in mounts.splitlines():
        _, target, kind, *_ = line.split()
        if path.is_relative_to(target) and len(target) >= found[1]:  # a later mount covers an earlier one
            found = kind, len(target)
    return found[0]
