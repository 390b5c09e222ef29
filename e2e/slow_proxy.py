"""A TCP proxy with a rate and a fault switch, both read from a file while it runs; it counts what it lets pass.

Usage: python -m e2e.slow_proxy ADDRESS PORT TARGET_PORT CONTROL COUNT

CONTROL is JSON: {"rate": bytes per second of all answers together, or null; "broken": cut and refuse connections}.
COUNT is a file that it writes: how many bytes of answers have passed, and when the last did (PASSED).
"""

import json
import mmap
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_BLOCK = 16 * 1024
_LOOK = 0.05  # seconds between looks at the switch
PASSED = "<Qd"  # bytes, and seconds since the machine started


class Switch:
    """The settings as the file has them now, and the time at which the next bytes may pass."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._next = 0.0
        self._read_at = 0.0
        self._settings: dict[str, Any] = {}

    @property
    def broken(self) -> bool:
        with self._lock:
            return bool(self._current()["broken"])

    def wait(self, count: int) -> None:
        """Wait until so many bytes may pass."""
        with self._lock:
            rate = self._current()["rate"]
            now = time.monotonic()
            self._next = max(now, self._next) + (count / rate if rate else 0.0)
            pause = self._next - now if rate else 0.0
        time.sleep(pause)

    def _current(self) -> dict[str, Any]:
        now = time.monotonic()
        if now > self._read_at + _LOOK:
            settings = json.loads(self._file.read_text())
            if settings != self._settings:
                self._next = 0.0
            self._settings, self._read_at = settings, now
        return self._settings


class Count:
    """What has passed, in a file that others read meanwhile."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(bytes(struct.calcsize(PASSED)))
        with file.open("r+b") as opened:
            self._shown = mmap.mmap(opened.fileno(), 0)
        self._lock = threading.Lock()
        self._bytes = 0

    def add(self, count: int) -> None:
        with self._lock:
            self._bytes += count
            struct.pack_into(PASSED, self._shown, 0, self._bytes, time.clock_gettime(time.CLOCK_BOOTTIME))


def main() -> None:
    address, port, target, control, passed = sys.argv[1:6]
    switch, count = Switch(Path(control)), Count(Path(passed))
    with socket.create_server((address, int(port)), backlog=256) as server:
        while True:
            client, _ = server.accept()
            if switch.broken:
                client.close()
            else:
                words = (client, (address, int(target)), switch, count)
                threading.Thread(target=serve, args=words, daemon=True).start()


def serve(client: socket.socket, target: tuple[str, int], switch: Switch, count: Count) -> None:
    with client, suppress(OSError), socket.create_connection(target, timeout=10) as server:
        client.settimeout(None)
        server.settimeout(None)
        answers = threading.Thread(target=copy, args=(server, client, switch, count), daemon=True)
        answers.start()
        copy(client, server, switch)
        answers.join()


def copy(source: socket.socket, to: socket.socket, switch: Switch, answers: Count | None = None) -> None:
    """Copy one direction; answers pass at the switch's rate and are counted."""
    with suppress(OSError):
        while (data := source.recv(_BLOCK)) and not switch.broken:
            if answers:
                switch.wait(len(data))
            to.sendall(data)
            if answers:
                answers.add(len(data))
    for side in (source, to):
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main()
