"""Mutating: from a pod and the models that it mounts to a JSON patch (RFC 6902). No I/O.

For every `prefer` model the pod prefers nodes where it is staged, and less so nodes where it is being staged, so that
a burst joins the running warm-up rather than starting more. Nothing the pod says is changed; a model's label that its
author mentions among the preferences is left to him, which also makes a second run add nothing.

The weights: a node's score is the sum of what it matches, scaled so that the best node has 100, times 2. So only where
a staged and a warming node both have room do the two weights meet, and there the pod shall go to the staged one even
when that is nearly full: an empty node has up to 95 points more for its room and some 25 to 50 for its balance. With 25
of 100 the staged one is 150 ahead (kube-scheduler 1.36.3: 20 of 20 pods that fill a node; with 75 of 100, 15 of 20).
Where no staged node has room, the warming one has the full 200 all the same.

Of several models the biggest counts fully, the others by their size: what would have to be brought is what matters.

A pod with an address (`spec.nodeName`) isn't scheduled, so it is left alone. `require` is the business of the volume's
own node affinity, which leaves only staged nodes: spreading over those is fine, so such a pod gets no neutral
constraint either, unless it has a `prefer` model too.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from csi_model import DRIVER_NAME
from csi_model.cluster.facts import Volume
from csi_model.cluster.hostile import mapping
from csi_model.core.placement import STAGED, WARMING, Placement, label_of

Json = dict[str, Any]
MAX_CLAIMS = 64
"""Claims of one pod that are looked at."""
MAX_MODELS = 32
"""Models of one pod that it is steered by: the biggest."""
HEAVIEST = 100
"""Weight of the biggest model that is staged: the most that Kubernetes allows."""
_WARMING = 4  # a model that is being staged counts so many times less; see above
_WAY = ("affinity", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution")
_NOWHERE = f"{DRIVER_NAME}/neutral"
_NEUTRAL = {
    "maxSkew": 1,
    "topologyKey": "kubernetes.io/hostname",
    "whenUnsatisfiable": "ScheduleAnyway",
    # both at once can't be: it matches no pod, so every node scores alike
    "labelSelector": {
        "matchExpressions": [
            {"key": _NOWHERE, "operator": "Exists"},
            {"key": _NOWHERE, "operator": "DoesNotExist"},
        ]
    },
}


@dataclass(frozen=True, slots=True)
class Mounted:
    """The claims that a pod names.

    Attributes:
        claims: names of claims that somebody makes.
        made: names of claims that Kubernetes makes once the pod exists (generic ephemeral volumes); one of that name
            that is there now was made for the pod's forerunner.

    """

    claims: tuple[str, ...] = ()
    made: tuple[str, ...] = ()


def mounted(pod: Any) -> Mounted:
    """Find the claims in a pod, which may be any JSON; at most :data:`MAX_CLAIMS` of each kind.

    The claims of a pod whose name is generated later can't be known, so they are left out.
    """
    volumes = mapping(pod, "spec").get("volumes")
    name = mapping(pod, "metadata").get("name")
    claims: dict[str, None] = {}
    made: dict[str, None] = {}
    for volume in volumes if isinstance(volumes, list) else ():
        claim = mapping(volume, "persistentVolumeClaim").get("claimName")
        if isinstance(claim, str):
            claims[claim] = None
        elif mapping(volume, "ephemeral") and _is_text(name) and _is_text(volume.get("name")):
            made[f"{name}-{volume['name']}"] = None
    return Mounted(tuple(islice(claims, MAX_CLAIMS)), tuple(islice(made, MAX_CLAIMS)))


def patch(pod: Any, volumes: Iterable[Volume], *, spread: bool) -> list[Json]:
    """Make the patch for a pod, which may be any JSON; empty if there is nothing to add.

    Every step is an ``add``, and every path is made of names that JSON Pointer needs no escapes for.

    Args:
        pod: as it comes in an AdmissionReview.
        volumes: the ModelVolumes of its claims.
        spread: whether a pod without topology spread constraints is given a neutral one. The scheduler's own default
            constraints weigh as much as node affinity, and would send pods away from the node that holds their model.

    """
    spec = mapping(pod, "spec")
    sizes = _sizes(volumes)
    if not spec or not sizes or spec.get("nodeName"):
        return []
    steps = _terms_added(spec, sizes)
    constraints = spec.get("topologySpreadConstraints")
    if spread and (constraints is None or constraints == []):
        steps.append({"op": "add", "path": "/spec/topologySpreadConstraints", "value": [_NEUTRAL]})
    return steps


def _sizes(volumes: Iterable[Volume]) -> dict[str, int]:
    """Return the models to steer by, by revision, the biggest first."""
    sizes = {volume.revision: volume.bytes for volume in volumes if volume.placement is Placement.PREFER}
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:MAX_MODELS])


def _terms_added(spec: Json, sizes: dict[str, int]) -> list[Json]:
    """Add our terms where they belong, with the parents that are missing; nowhere if a parent is of another kind."""
    path: str = "/spec"
    there: Any = spec
    for depth, name in enumerate(_WAY, start=1):
        path, child = f"{path}/{name}", there.get(name)
        if child is None:
            value: Any = _terms(sizes, ())
            for missing in reversed(_WAY[depth:]):
                value = {missing: value}
            return [{"op": "add", "path": path, "value": value}]
        if not isinstance(child, list if depth == len(_WAY) else dict):
            return []
        there = child
    return [{"op": "add", "path": f"{path}/-", "value": term} for term in _terms(sizes, set(_keys(there)))]


def _terms(sizes: dict[str, int], taken: Collection[str]) -> list[Json]:
    biggest = max(1, *sizes.values())
    terms = []
    for revision, size in sizes.items():
        key, weight = label_of(revision), max(_WARMING, size * HEAVIEST // biggest)
        if key not in taken:
            terms += [_term(weight, key, STAGED), _term(weight // _WARMING, key, WARMING)]
    return terms


def _term(weight: int, key: str, value: str) -> Json:
    return {
        "weight": weight,
        "preference": {"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]},
    }


def _keys(terms: list[Any]) -> Iterator[str]:
    """Yield the labels that preferences name."""
    for term in terms:
        expressions = mapping(term, "preference").get("matchExpressions")
        for expression in expressions if isinstance(expressions, list) else ():
            if isinstance(expression, dict) and isinstance(expression.get("key"), str):
                yield expression["key"]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""
