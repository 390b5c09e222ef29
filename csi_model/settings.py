"""Every knob, with its unit and the reason for its default.

Frozen dataclasses; nothing else in the package reads the environment or argv (the CLI fills these in). Environment
variables begin with ``CSIMODEL_``; the CSI specification reserves those that begin with ``CSI_`` (and defines one
that we honour: ``CSI_ENDPOINT``).
"""

from dataclasses import dataclass, field
from pathlib import Path

from csi_model.errors import InvalidArgument

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The node's disk."""

    root: Path
    """Directory of the store; made with mode 0700 if its parent exists."""

    require_mount: Path | None = None
    """Refuse to start unless this path is a mount point: a store that quietly lands on the root disk fills it."""

    high_watermark: float = 0.80
    """Fraction of the file system in use above which copies are evicted. Kubelet collects images at 85 % and evicts
    pods at 90 % (nodefs.available < 10 %) by default, so 80 % stays clear of it on a shared file system."""

    low_watermark: float = 0.70
    """Eviction goes on down to this fraction, so that it doesn't run at every step."""

    abandoned_hold_grace: float = 3600.0
    """Seconds before a hold whose staging directory and targets are gone is collected: kubelet may be in the middle
    of setting a pod up."""

    def __post_init__(self) -> None:
        if not 0 < self.low_watermark <= self.high_watermark <= 1:
            raise InvalidArgument("watermarks", "want 0 < low ≤ high ≤ 1")


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """The fast path."""

    streams: int = 8
    """Requests in flight on this node, all warm-ups together. More than a handful buys nothing on one link, and each
    holds a buffer of one chunk."""

    spare_buffers: int = 2
    """Buffers beyond one per stream, for chunks that wait for their turn at a hash that needs bytes in order."""

    checkpoint_bytes: int = 64 * MIB
    """Bytes of one file between two fdatasync calls: what a crash can cost at most, per file being fetched."""

    attempts: int = 6
    """Tries of one span before its error counts."""

    backoff_initial: float = 0.2
    """Seconds before the second try; doubles, with full jitter."""

    backoff_max: float = 10.0
    """Seconds at most between two tries, also when the source asks for more."""

    small_file_batch: int = 64
    """Small files that are made durable together."""


@dataclass(frozen=True, slots=True)
class WarmerSettings:
    """Warm-ups and the calls that wait for them."""

    first_answer: float = 10.0
    """Seconds after which the first call of a warm-up answers, so that people see progress early."""

    hold: float = 110.0
    """Seconds that a later call waits at most: kubelet's deadline is two minutes."""

    unwanted_grace: float = 2.0
    """Seconds that a warm-up goes on after the last one who wanted it left: a pod that moves comes back at once."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole program."""

    store: StoreSettings
    transfer: TransferSettings = field(default_factory=TransferSettings)
    warmer: WarmerSettings = field(default_factory=WarmerSettings)
    ambient_allow: tuple[str, ...] = ()
    """Globs of references that ``auth: ambient`` may read although a claim's own words made them."""
    ca_bundle: Path | None = None
    """Certificates of authorities to trust instead of the system's, for every source."""
