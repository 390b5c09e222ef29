"""Counts what the controller wrote, from the API server's audit log."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

LEASES = "leases"


class Audit:
    """The log of one account's writes."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def mark(self) -> int:
        """Return where the log ends now."""
        return self._file.stat().st_size

    def since(self, mark: int) -> Counter[str]:
        """Count the writes since a mark, by verb and resource."""
        with self._file.open("rb") as log:
            log.seek(mark)
            return count(log.read().splitlines())


def count(lines: Iterable[bytes]) -> Counter[str]:
    """Count audit events such as ``patch nodes``; a last line that isn't whole yet is left out."""
    found: Counter[str] = Counter()
    for line in lines:
        try:
            event = json.loads(line)
            about = event["objectRef"]
        except (ValueError, KeyError):
            continue
        resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        refused = event.get("responseStatus", {}).get("code", 200) >= 300  # noqa: PLR2004 - HTTP's own number
        found[f"{event['verb']} {resource}{' (refused)' if refused else ''}"] += 1
    return found


def without_leases(counts: Mapping[str, int]) -> int:
    """Add up all but the renewals of leases, whose number depends on nothing but the time."""
    return sum(number for what, number in counts.items() if what.split()[1] != LEASES)


def in_words(counts: Mapping[str, int], per: float) -> str:
    """List what was written, each divided by ``per``, the most frequent first."""
    parts = sorted(counts.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{number / per:.2g} {what}" for what, number in parts)
