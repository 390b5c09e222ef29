"""A control group per node, and per controller on v1; what is in it is what belongs to the node."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from e2e.cluster import place
from e2e.cluster.shell import until

ROOT = Path("/sys/fs/cgroup")
V1 = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
_LEAF = "init"  # v2: processes may be only in groups that have no controllers for groups below them


def unified() -> bool:
    return (ROOT / "cgroup.controllers").exists()


def missing() -> list[str]:
    """Return the controllers that the machine lacks."""
    if unified():
        there = (ROOT / "cgroup.controllers").read_text().split()
        return [name for name in ("cpu", "memory", "pids") if name not in there]
    return [name for name in V1 if not (ROOT / name / "cgroup.procs").exists()]


def folders(name: str) -> list[Path]:
    return [ROOT / name] if unified() else [ROOT / controller / name for controller in V1]


def group(number: int) -> str:
    return f"{place.PREFIX}-{place.node_name(number)}"


def make(name: str) -> None:
    for folder in folders(name):
        folder.mkdir(exist_ok=True)
        if folder.parent.name == "cpuset":  # refuses processes until these are set
            for setting in ("cpuset.cpus", "cpuset.mems"):
                (folder / setting).write_text((folder.parent / setting).read_text())


def entry(name: str, *, root: bool = False) -> list[str]:
    """Return the beginning of a command that joins a node's group and runs what follows.

    Args:
        name: of the group.
        root: the group itself, for the process whose namespace begins there; on v2 others go to a group below.

    """
    below = f"/{_LEAF}" if unified() and not root else ""
    files = " ".join(f"{folder}{below}/cgroup.procs" for folder in folders(name))
    return ["sh", "-c", f'for file in {files}; do echo $$ > $file || exit; done; exec "$@"', "sh"]


def processes(name: str) -> set[int]:
    return {pid for folder in folders(name) for pid in _members(folder)}


def end(name: str) -> None:
    """Kill what is in a node's groups and remove them; TookTooLong."""
    until(lambda: _killed(name), f"processes of {name} have ended", 30)
    until(lambda: _removed(name), f"control groups of {name} are gone", 30)


def left() -> list[str]:
    """Return the names of groups that exist."""
    return sorted({path.name for path in [*ROOT.glob(f"{place.PREFIX}-*"), *ROOT.glob(f"*/{place.PREFIX}-*")]})


def _members(folder: Path) -> Iterator[int]:
    for file in folder.rglob("cgroup.procs"):
        with suppress(OSError):  # gone meanwhile
            yield from map(int, file.read_text().split())


def _killed(name: str) -> bool:
    remaining = processes(name)
    for pid in remaining:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not remaining


def _removed(name: str) -> bool:
    for folder in folders(name):
        below = sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True)
        for path in [*below, folder]:
            with suppress(OSError):  # not yet empty, or gone
                path.rmdir()
    return not any(folder.exists() for folder in folders(name))
