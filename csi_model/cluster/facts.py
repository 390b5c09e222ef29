"""Facts: what the controller knows of the cluster when it decides. Values only; no I/O, no clock.

Decisions (``wanting``, ``labelling``, ``guarding``, ``standing`` in ``steering``, ``mutating`` in ``webhook``) are pure
functions of these; ``inventory`` keeps them up to date, ``loop`` carries the decisions out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from csi_model.core.copies import Copy, Guard, NodeReport, Wanted
from csi_model.core.placement import Placement, Wants
from csi_model.core.volume import Claim
from csi_model.core.warmth import Warmth


@dataclass(frozen=True, slots=True)
class Volume:
    """A ModelVolume, as far as steering goes.

    Attributes:
        name: of the ModelVolume.
        revision: Manifest digest.
        bytes: size of the Revision.
        source: the reference, for people.
        placement: how its pods are steered.
        wants: where it shall be staged ahead.
        warmable: whether it can be brought without a pod: its source is read with the driver's role or nobody's.
        claim: whose it is; None if nobody's.
        generation: of the object that said so.
        created: when, in seconds since the epoch.

    """

    name: str
    revision: str
    bytes: int
    source: str
    placement: Placement
    wants: Wants
    warmable: bool
    claim: Claim | None = None
    generation: int = 0
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint of a node; ``effect`` is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Guarded:
    """How far the eviction of a guarded copy is, and since when (seconds since the epoch)."""

    guard: Guard
    since: float


@dataclass(frozen=True, slots=True)
class Node:
    """A node: what its Node and ModelNode objects say.

    Attributes:
        name: of the node.
        labels: all of them, ours too.
        schedulable: whether it isn't cordoned.
        taints: that keep pods away.
        alive: whether its agent has spoken lately.
        report: the agent's last; None if it never spoke.
        wanted: what the ModelNode tells it to have now.
        guarded: by revision, what the ModelNode tells it not to evict.

    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    schedulable: bool = True
    taints: tuple[Taint, ...] = ()
    alive: bool = True
    report: NodeReport | None = None
    wanted: tuple[Wanted, ...] = ()
    guarded: Mapping[str, Guarded] = field(default_factory=dict)
    copies: Mapping[str, Copy] = field(init=False, repr=False, compare=False)
    """By revision, what it says that it has; empty while it is silent."""
    wants: Mapping[str, Wanted] = field(init=False, repr=False, compare=False)
    """``wanted`` by revision."""
    queue: tuple[Wanted, ...] = field(init=False, repr=False, compare=False)
    """What is wanted and hasn't begun to be brought."""

    def __post_init__(self) -> None:
        said = self.report.copies if self.alive and self.report is not None else ()
        object.__setattr__(self, "copies", {copy.revision: copy for copy in said})
        object.__setattr__(self, "wants", {wanted.revision: wanted for wanted in self.wanted})
        object.__setattr__(self, "queue", tuple(it for it in self.wanted if not self.begun(it.revision)))

    def copy(self, revision: str) -> Copy | None:
        """Return what it says of a Revision; None if it is silent, or has nothing of it."""
        return self.copies.get(revision)

    def begun(self, revision: str) -> bool:
        """Tell whether a Revision is staged here or being brought: it needs no more room."""
        copy = self.copies.get(revision)
        return copy is not None and copy.warmth is not Warmth.COLD


@dataclass(frozen=True, slots=True)
class Toleration:
    """A toleration of a pod, as Kubernetes has them; ``key`` "" with ``exists`` tolerates everything."""

    key: str = ""
    exists: bool = False
    value: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One expression of a required node affinity; ``operator`` is In, NotIn, Exists, DoesNotExist, Gt or Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that mounts claims and hasn't ended.

    Attributes:
        namespace: of the pod.
        name: of the pod.
        uid: which one of that name.
        claims: names of all claims that it mounts.
        node: where it is bound; "" while it waits for the scheduler.
        selector: its nodeSelector.
        affinity: its required node affinity: terms of which one has to hold, each of requirements that all have to;
            empty if it has none. A requirement on a node's name has the key ``metadata.name``.
        tolerations: of taints.
        gated: whether scheduling gates keep it from being looked at.
        created: when, in seconds since the epoch.

    """

    namespace: str
    name: str
    uid: str
    claims: tuple[str, ...]
    node: str = ""
    selector: Mapping[str, str] = field(default_factory=dict)
    affinity: tuple[tuple[Requirement, ...], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    gated: bool = False
    created: float = 0.0
