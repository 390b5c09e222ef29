"""Nodes, volumes, pods and demands, as short as a test wants them."""

from dataclasses import replace

from csi_model.cluster.facts import Guarded, Node, Pod, Volume
from csi_model.cluster.steering.demand import Demand, Waiting
from csi_model.cluster.steering.wanting import choose
from csi_model.core.copies import Copy, Guard, NodeReport, Wanted
from csi_model.core.placement import Placement, Wants
from csi_model.core.volume import Claim
from csi_model.core.warmth import Warmth

GB = 10**9
A, B, C = ("a" * 64, "b" * 64, "c" * 64)
SIZES = {A: 10 * GB, B: 20 * GB, C: 30 * GB}


def copy(revision, warmth=Warmth.STAGED, present=None, **more):
    size = SIZES[revision]
    here = {Warmth.STAGED: size, Warmth.WARMING: size // 2, Warmth.COLD: 0}[warmth] if present is None else present
    return Copy(revision, warmth, size, here, **more)


def node(name, *copies, wanted=(), available=100 * GB, evictable=0, guarded=None, **more):
    """A node; ``wanted`` are revisions, ``guarded`` says how far each one's eviction is."""
    copies = tuple(one if isinstance(one, Copy) else copy(one) for one in copies)
    return Node(
        name,
        report=NodeReport(1000 * GB, 0, available, evictable, copies),
        wanted=tuple(Wanted(revision, "m-1") for revision in wanted),
        guarded={revision: Guarded(Guard(guard), 0.0) for revision, guard in (guarded or {}).items()},
        **more,
    )


def warming(revision, **more):
    return copy(revision, Warmth.WARMING, **more)


def cluster(*nodes):
    return {each.name: each for each in nodes}


def volume(revision=A, replicas=0, selector=(), *, pin=False, placement="prefer", namespace="", name="m-1", **more):
    return Volume(
        name,
        revision,
        SIZES[revision],
        f"s3://models/{revision[0]}",
        Placement(placement),
        Wants(replicas, tuple(selector), pin),
        more.pop("warmable", True),
        Claim(namespace, "claim") if namespace else None,
        **more,
    )


def demand(*volumes, bound=(), waiting=()):
    waiting = tuple(each if isinstance(each, Waiting) else Waiting(each, (volumes[0].revision,)) for each in waiting)
    return Demand(volumes[0].revision, volumes[0].bytes, volumes, frozenset(bound), waiting)


def pod(name="p", namespace="team", **more):
    return Pod(namespace, name, f"uid-{name}", ("claim",), **more)


def chosen(demand, nodes, allowed=None):
    """The names of the nodes that a demand gets."""
    return set(choose(demand, nodes, SIZES, allowed or {}).wanted)


def ordered(nodes, revision, choice):
    """The nodes after a choice was ordered."""
    after = {}
    for name, each in nodes.items():
        others = [it for it in each.wanted if it.revision != revision]
        own = [choice.wanted[name]] if name in choice.wanted else []
        after[name] = replace(each, wanted=tuple(sorted([*others, *own], key=lambda it: (not it.urgent, it.revision))))
    return after
