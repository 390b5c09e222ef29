"""A slow way to the object store: a rate, a fault switch, and a count of what passed."""

import json
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from e2e.cluster import controlplane, place
from e2e.cluster.processes import Process
from e2e.cluster.shell import answers, until
from e2e.slow_proxy import PASSED

_ROOT = Path(__file__).resolve().parent.parent


class Passed(NamedTuple):
    """What passed since the way was opened.

    Attributes:
        bytes: of answers, their heads included.
        last: when the last of them passed, in seconds since the machine started.

    """

    bytes: int
    last: float


class SlowWay:
    """A TCP proxy beside the object store; its state is in files, so that other processes know the same one.

    Args:
        name: its process and its files are called after it.
        port: where it listens.
        target: the port that it leads to.
        folder: for its files.

    """

    def __init__(self, name: str, port: int, *, target: int, folder: Path) -> None:
        self._process = Process(f"{name}-proxy")
        self._port, self._target = port, target
        self._control, self._passed = folder / f"{name}.json", folder / f"{name}.passed"
        self._log = folder / f"{name}-proxy.log"
        self.endpoint = f"http://{place.CLUSTER_IP}:{port}"

    def open(self) -> None:
        """Start it, if it doesn't run, at full speed; TookTooLong."""
        if self._process.pid is None:
            self.slow(None)
            words = [place.CLUSTER_IP, str(self._port), str(self._target), str(self._control), str(self._passed)]
            command: list[str | Path] = [sys.executable, "-m", "e2e.slow_proxy", *words]
            environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
            self._process.start(controlplane.within(command), self._log, environment)
        until(lambda: answers(place.CLUSTER_IP, self._port), "the slow way listens", 30)

    def close(self) -> None:
        """End it."""
        self._process.stop()

    def slow(self, rate: float | None) -> None:
        """Let so many bytes per second pass, all connections together; None: all it can."""
        self._write({"rate": rate, "broken": False})

    def break_(self) -> None:
        """Cut its connections and refuse new ones, until `slow` is called."""
        self._write({"rate": None, "broken": True})

    def passed(self) -> Passed:
        """Return what has passed until now."""
        return Passed(*struct.unpack(PASSED, self._passed.read_bytes()))

    def wait_passed(self, count: int, timeout: float = 90) -> None:
        """Wait until so many bytes have passed in all; TookTooLong."""
        until(lambda: self.passed().bytes >= count, f"{count} bytes have passed", timeout)

    def _write(self, settings: Mapping[str, Any]) -> None:
        written = self._control.with_suffix(".new")
        written.write_text(json.dumps(settings))
        written.rename(self._control)
