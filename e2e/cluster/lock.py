"""One cluster at a time on a machine; those who use a cluster that is up share it."""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from e2e.cluster import place

_LOCK = place.STATE / "lock"
_USERS = place.STATE / "users"


class InUse(Exception):
    """Somebody else has the cluster; the text says who."""


class Lock:
    """Held alone while the cluster is made or removed, and shared while it is used."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def alone(self) -> None:
        """Hold it alone, at once; InUse."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse("the cluster is in use: " + "; ".join(users())) from None

    def wait_alone(self) -> None:
        """Hold it alone, as soon as nobody else holds it."""
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def wait_shared(self) -> None:
        """Hold it together with others, as soon as nobody holds it alone."""
        fcntl.flock(self._file, fcntl.LOCK_SH)


@contextmanager
def opened() -> Iterator[Lock]:
    """Yield the lock, not yet held, and say in a file who we are."""
    _USERS.mkdir(parents=True, exist_ok=True)
    mine = _USERS / str(os.getpid())
    with _LOCK.open("a") as file:
        mine.write_text(f"{' '.join(sys.argv[:3])} since {time.strftime('%H:%M:%S')}")
        try:
            yield Lock(file)
        finally:
            mine.unlink(missing_ok=True)


def users() -> list[str]:
    """Return who uses the cluster or waits for it, but for us."""
    found = []
    for file in sorted(_USERS.glob("*")):
        if not Path("/proc", file.name).exists():
            file.unlink(missing_ok=True)
        elif file.name != str(os.getpid()):
            found.append(f"process {file.name}: {file.read_text()}")
    return found
