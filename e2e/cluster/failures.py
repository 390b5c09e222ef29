"""Where logs go when something failed; the latest are kept."""

import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from e2e.cluster import place

_KEPT = 20
FOLDER = place.STATE / "failures"


def save(logs: Iterable[Path], name: str) -> Path:
    """Copy log files into a new folder, and return it."""
    folder = new(name)
    for log in logs:
        if log.exists():
            shutil.copy(log, folder / f"{'-'.join(log.relative_to(place.STATE).parts)}")
    return folder


def new(name: str) -> Path:
    """Make a folder for a failure; drops the oldest."""
    folder = FOLDER / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(FOLDER.iterdir())[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)  # others may be at it
    return folder
