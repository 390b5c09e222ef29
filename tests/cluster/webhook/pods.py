"""Pods, volumes, and a tiny applier of JSON patches."""

import copy

from csi_model.cluster.facts import Volume
from csi_model.cluster.trimming import KnownVolume
from csi_model.cluster.webhook.index import KnownClaim
from csi_model.core.placement import Placement, Wants, label_of
from csi_model.core.volume import Claim

A, B = "a" * 64, "b" * 64
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def volume(revision=A, size=1000, placement=Placement.PREFER, *, claim=None, name="m-1"):
    return Volume(name, revision, size, "s3://models/x", placement, Wants(), warmable=True, claim=claim)


def pod(*claims, **spec):
    volumes = [{"name": f"v{n}", "persistentVolumeClaim": {"claimName": claim}} for n, claim in enumerate(claims)]
    return {"metadata": {"generateName": "web-"}, "spec": {"containers": [{"name": "c"}], "volumes": volumes, **spec}}


def applied(document, steps):
    """Apply a patch as RFC 6902 has it; only `add`, and only below what is there."""
    document = copy.deepcopy(document)
    for step in steps:
        assert step["op"] == "add"
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
        at = document
        for part in parents:
            at = at[part]
        if isinstance(at, list):
            assert last == "-"
            at.append(copy.deepcopy(step["value"]))
        else:
            assert isinstance(at, dict)
            at[last] = copy.deepcopy(step["value"])
    return document


def preferences(pod):
    """Return the weights by label and value."""
    terms = pod["spec"].get("affinity", {}).get("nodeAffinity", {}).get(PREFERRED, [])
    found = [(term["preference"]["matchExpressions"][0], term["weight"]) for term in terms]
    return {(expression["key"], *expression["values"]): weight for expression, weight in found}


def ours(revision, staged=100, warming=25):
    return {(label_of(revision), "staged"): staged, (label_of(revision), "warming"): warming}


CLAIM = KnownClaim("uid-1", "models")


def resolved(name="m-1", *, claim="model", uid="uid-1", revision=A, namespace="team"):
    """What the watch tells of a ModelVolume."""
    return KnownVolume(volume(revision, claim=Claim(namespace, claim, uid), name=name))
