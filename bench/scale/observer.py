"""Sees the labels of Nodes as a scheduler sees them: by a watch of its own."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from bench.scale.client import Json
from csi_model import DRIVER_NAME

_PREFIX = f"{DRIVER_NAME}/m-"
_PAUSE = 1.0  # seconds; changes wake it up before
Labels = dict[str, dict[str, str]]
"""By node, the labels of revisions."""


@dataclass(slots=True)
class Sighting:
    """A label that is waited for: where, since when, and when it was seen (seconds of the monotonic clock)."""

    node: str
    label: str
    since: float
    seen: float | None = None


class Observer:
    """Keeps every node's labels, and notes when those that somebody waits for are there."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._labels: Labels = {}
        self._awaited: dict[tuple[str, str, str], Sighting] = {}

    def tell(self, kind: str, node: Json) -> None:
        """Take a node's change in."""
        name = node["metadata"]["name"]
        found = {} if kind == "DELETED" else node["metadata"].get("labels", {})
        ours = {key: value for key, value in found.items() if key.startswith(_PREFIX)}
        now = time.monotonic()
        with self._changed:
            for key, value in ours.items() - self._labels.get(name, {}).items():
                sighting = self._awaited.pop((name, key, value), None)
                if sighting is not None:
                    sighting.seen = now
            self._labels[name] = ours
            self._changed.notify_all()

    def expect(self, node: str, label: str, value: str, *, since: float) -> Sighting:
        """Wait for a label that isn't there yet."""
        with self._changed:
            return self._awaited.setdefault((node, label, value), Sighting(node, label, since))

    def pending(self) -> int:
        """Return how many are waited for."""
        with self._changed:
            return len(self._awaited)

    def all_seen(self, timeout: float) -> bool:
        """Wait until none is waited for; those that are then are forgotten."""
        with self._changed:
            seen = self._changed.wait_for(lambda: not self._awaited, timeout)
            self._awaited.clear()
        return seen

    def wrong(self, expected: Mapping[str, Mapping[str, str]]) -> int:
        """Count the labels that are missing, or there without reason."""
        with self._changed:
            return self._wrong(expected)

    def until_right(self, expected: Mapping[str, Mapping[str, str]], timeout: float) -> float | None:
        """Wait until every node has exactly these labels; return when that was, None if it never was."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while (left := deadline - time.monotonic()) > 0:
                if not self._wrong(expected):
                    return time.monotonic()
                self._changed.wait(min(left, _PAUSE))
        return None

    def _wrong(self, expected: Mapping[str, Mapping[str, str]]) -> int:
        return sum(
            len(expected.get(name, {}).items() ^ self._labels.get(name, {}).items())
            for name in expected.keys() | self._labels.keys()
            if expected.get(name, {}) != self._labels.get(name, {})
        )
