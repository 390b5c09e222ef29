"""Every knob, with its unit and the reason for its default.

Frozen dataclasses; nothing else in the package reads the environment or argv (the CLI fills these in). Environment
variables begin with ``CSIMODEL_``; the CSI specification reserves those that begin with ``CSI_`` (and defines one
that we honour: ``CSI_ENDPOINT``).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from csi_model.errors import InvalidArgument

MIB = 1024 * 1024
_LABEL = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+){2}(:s\d[A-Za-z0-9_.:,-]*)?\Z")
_MANY_CORES = 8
_MOST_TLS_PROCESSES = 8


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

    selinux_label: str = ""
    """SELinux label of everything that pods see, e.g. ``system_u:object_r:container_file_t:s0``; empty: the kernel's
    choice. Model files are shared by all pods, so no runtime may relabel them for one."""

    def __post_init__(self) -> None:
        if self.selinux_label and not _LABEL.match(self.selinux_label):
            raise InvalidArgument(
                "selinux_label",
                f"{self.selinux_label[:80]!r} is not of the form user:role:type:level, "
                "e.g. system_u:object_r:container_file_t:s0",
            )
        if not 0 < self.low_watermark <= self.high_watermark <= 1:
            raise InvalidArgument("watermarks", "want 0 < low ≤ high ≤ 1")


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """The fast path."""

    streams: int = 8
    """Requests in flight on this node in the beginning, all warm-ups together; their number is tuned by trial."""

    streams_least: int = 4
    """Streams that are never saved: one slow answer mustn't be all there is."""

    streams_most: int = 32
    """Streams at most. A far-away object store gives each about 0.1 GB/s, so 32 fill a 25 Gbit/s link."""

    buffer_bytes: int = 96 * MIB
    """Memory for bytes on their way, all warm-ups together: 1 MiB per stream, or a chunk (16 MiB) per stream where a
    source's checksum needs the bytes in order. It keeps the whole process under 200 MiB."""

    run_chunks: int = 4
    """Chunks in one request at most: fewer requests are less work for the server (MinIO: 0.54 instead of 0.71 CPU s
    per GiB with 64 MiB instead of 16 MiB), more of them share the end of a file better."""

    rate_limit: float = 0.0
    """Bytes per second that this node receives at most, all warm-ups together; 0 for no limit."""

    checkpoint_bytes: int = 32 * MIB
    """Bytes of one file between two fdatasync calls: what a crash can cost at most, per file being fetched."""

    attempts: int = 6
    """Tries in a row that bring nothing before a span's error counts."""

    backoff_initial: float = 0.2
    """Seconds before the second try; doubles, with full jitter."""

    backoff_max: float = 10.0
    """Seconds at most between two tries, also when the source asks for more."""

    tls_processes: int | None = None
    """Processes that read over TLS: one interpreter does so at about 1 GB/s, however many streams it has (HTTP without
    TLS: 8 GB/s). About 20 MiB of memory each. None: as many as :meth:`tls_processes_on` finds fit."""

    small_file_batch: int = 64
    """Small files that are made durable together."""

    def tls_processes_on(self, cores: int) -> int:
        """Return how many processes read over TLS on a node where we may use so many cores.

        By default none below 8 cores, where the disk or the hashing is the limit, and then a quarter of them, up to 8:
        enough for a network of 50 Gbit/s.
        """
        if self.tls_processes is not None:
            return self.tls_processes
        return 0 if cores < _MANY_CORES else min(_MOST_TLS_PROCESSES, cores // 4)


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
class PageCacheSettings:
    """Memory as a tier above the disk."""

    mode: str = "auto"
    """``auto``: a staged tree is read ahead when a pod that will load it arrives, as far as memory has room that no
    running workload uses. ``never``: models are left to the kernel, for nodes whose memory is spoken for."""

    def __post_init__(self) -> None:
        if self.mode not in ("auto", "never"):
            raise InvalidArgument("page_cache", "want auto or never")


@dataclass(frozen=True, slots=True)
class SteeringSettings:
    """What the controller does about nodes, in a cluster."""

    namespace: str = "csi-model"
    """Where the controller runs: its Lease lies there."""

    identity: str = ""
    """This controller's name among those that may lead."""

    quotas: Mapping[str, int] = field(default_factory=dict)
    """Bytes on all nodes together that a namespace's claims may have brought ahead; ``*``: of one that isn't named."""

    not_ready_taint: bool = False
    """Whether the taint ``csi-model.io/agent-not-ready`` is removed from nodes whose agent is up."""

    silent_after: float = 120.0
    """Seconds without a word after which a node's copies don't count any more: four heartbeats."""

    evict_grace: float = 30.0
    """Seconds between a label that is gone and the leave to delete the copy: more than the scheduler and its caches lag
    behind, so that every pod that was sent by that label is bound, and seen, by then."""

    labels_per_node: int = 100
    """Labels of revisions on one node at most: every watcher of Nodes receives all of them with every change."""

    debounce: float = 0.05
    """Seconds between news and the decision, so that news that come together are decided on together."""

    resync: float = 60.0
    """Seconds between two looks at everything, whether or not there was news: what got lost is mended then."""

    writes_per_second: float = 100.0
    """Changes that are written to the API, all kinds together, in the long run. A staged copy is about five of them
    (docs/scale.md), so 10 stagings a second leave half of it."""

    write_burst: int = 250
    """Changes that may be written at once after a quiet time: 100 copies that begin and end together are 200 labels,
    beside the fifth that statuses leave to labels."""

    writers: int = 6
    """Threads that write: an API server answers in 5 to 20 ms, so six write 300 a second and more."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole program."""

    store: StoreSettings
    transfer: TransferSettings = field(default_factory=TransferSettings)
    warmer: WarmerSettings = field(default_factory=WarmerSettings)
    page_cache: PageCacheSettings = field(default_factory=PageCacheSettings)
    steering: SteeringSettings = field(default_factory=SteeringSettings)
    ambient_allow: tuple[str, ...] = ()
    """Globs of references that ``auth: ambient`` may read although a claim's own words made them."""
    ca_bundle: Path | None = None
    """Certificates of authorities to trust instead of the system's, for every source."""
