"""How large the simulated cluster is, and how long each part is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of a run.

    Attributes:
        nodes: of the cluster.
        volumes: ModelVolumes, each with a claim and a PersistentVolume.
        copies: revisions that are staged on each node.
        pods: all of them, bound to nodes.
        ours: of these, the pods that mount a claim of ours.
        foreign_claims: claims of other drivers; as many pods mount them, ten of these to a claim.
        namespaces: that claims and pods are spread over.
        heartbeat: seconds between two heartbeats of a node's agent.
        kubelet: seconds between two reports of a node's kubelet into its Node (kubelet's own default is 300).
        rate: stagings a second while that is measured.
        measured: seconds that the idle time, and the stagings, are measured for.
        burst: stagings at the same instant.
        ordered: nodes that a volume newly wants to be staged on at once.
        warming: seconds that a simulated node takes to bring a copy.
        wrong: labels that somebody edits while no controller runs.
        reviews: admission reviews.
        review_rate: of them a second.

    """

    nodes: int = 1000
    volumes: int = 200
    copies: int = 20
    pods: int = 10_000
    ours: int = 2_000
    foreign_claims: int = 100
    namespaces: int = 20
    heartbeat: float = 30.0
    kubelet: float = 300.0
    rate: float = 10.0
    measured: float = 60.0
    burst: int = 100
    ordered: int = 50
    warming: float = 3.0
    wrong: int = 100
    reviews: int = 1000
    review_rate: float = 50.0


FULL = Sizes()
QUICK = Sizes(
    nodes=100, volumes=40, copies=10, pods=1000, ours=200, foreign_claims=10, namespaces=5, heartbeat=10.0,
    measured=10.0, burst=40, ordered=10, warming=2.0, wrong=20, reviews=200,
)  # fmt: skip
