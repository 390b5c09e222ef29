"""Long-running processes that a test run may leave to the next one: started on their own, found again by file."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from e2e.cluster import place
from e2e.cluster.shell import until

_PATIENCE = 10.0  # seconds to end by itself
_own: dict[int, "subprocess.Popen[bytes]"] = {}  # to be reaped by us


class Process:
    """A process by its file: pid and start time, so that a later process with the same pid isn't taken for it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.file = place.STATE / "pids" / name

    def start(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        """Start it in a session of its own; what it says is appended to a file."""
        log.parent.mkdir(parents=True, exist_ok=True)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
                start_new_session=True,
            )  # fmt: skip
        self.file.write_text(f"{child.pid} {_started(child.pid)}")
        _own[child.pid] = child

    @property
    def pid(self) -> int | None:
        """Its pid while it runs."""
        try:
            pid, started = self.file.read_text().split()
        except (OSError, ValueError):
            return None
        if int(pid) in _own:
            _own[int(pid)].poll()  # reaped, if it has ended
        return int(pid) if _started(int(pid)) == started else None

    def stop(self, *, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, if it runs: kindly, then not; TookTooLong."""
        pid = self.pid
        if pid is not None:
            self.kill(how)
            try:
                until(lambda: self.pid is None, f"{self.name} ended", _PATIENCE)
            except TimeoutError:
                self.kill(signal.SIGKILL)
                until(lambda: self.pid is None, f"{self.name} was killed", _PATIENCE)
        self.file.unlink(missing_ok=True)

    def kill(self, how: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            if (pid := self.pid) is not None:
                os.kill(pid, how)

    @classmethod
    def all(cls) -> list["Process"]:
        """Return those that have a file."""
        return [cls(file.name) for file in sorted((place.STATE / "pids").glob("*"))]


def _started(pid: int) -> str:
    """Return when a process began, in ticks since boot; "" for none and for a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
