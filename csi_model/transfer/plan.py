"""Plan: the pure difference Manifest - Store."""

from collections.abc import Container
from dataclasses import dataclass

from csi_model.core.manifest import Entry, Manifest


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be copied before a Revision can be assembled.

    Attributes:
        manifest: the Revision.
        missing: entries whose bytes aren't here, largest first: the big ones decide when the last byte lands, and
            small ones fill the gaps at the end.
        present: bytes of the Revision that are here.

    """

    manifest: Manifest
    missing: tuple[Entry, ...]
    present: int

    @classmethod
    def of(cls, manifest: Manifest, present: Container[str]) -> "Plan":
        """Compare a Manifest with the paths of the entries that are here; empty files need no bytes."""
        missing = [entry for entry in manifest.entries if entry.size and entry.path not in present]
        missing.sort(key=lambda entry: -entry.size)
        return cls(manifest, tuple(missing), manifest.size - sum(entry.size for entry in missing))
