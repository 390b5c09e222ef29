"""Pods: what is kept of those that mount claims and haven't ended."""

from collections.abc import Iterator
from functools import lru_cache
from sys import intern
from typing import Any, TypeVar

from csi_model.cluster.facts import Pod, Requirement, Toleration
from csi_model.cluster.trimming import seconds_of

Json = dict[str, Any]
T = TypeVar("T")
QUERY = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
"""Of the watch: pods that ended need nothing any more."""
_NAME = "metadata.name"
_NOTHING: tuple[Requirement, ...] = (Requirement(_NAME, "In", ()),)
"""A term that no node fulfils."""


def trim_pod(item: Json) -> Pod | None:
    """Trim a pod; None if it mounts no claim, has ended, or is damaged."""
    try:
        return _pod(item)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return None


def _pod(item: Json) -> Pod | None:
    metadata, spec, status = item["metadata"], item["spec"], item.get("status") or {}
    claims = tuple(dict.fromkeys(_claims(metadata["name"], spec.get("volumes") or [])))
    if not claims or status.get("phase") in ("Succeeded", "Failed"):
        return None
    required = (
        ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    ) or {}
    return Pod(
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        uid=metadata["uid"],
        claims=claims,
        node=intern(spec.get("nodeName") or ""),
        selector={intern(key): intern(value) for key, value in (spec.get("nodeSelector") or {}).items()},
        affinity=_shared(tuple(_term(term) for term in required.get("nodeSelectorTerms") or [])),
        tolerations=_shared(tuple(_toleration(each) for each in spec.get("tolerations") or [])),
        gated=bool(spec.get("schedulingGates")),
        created=seconds_of(metadata.get("creationTimestamp")),
    )


@lru_cache(maxsize=4096)
def _shared(value: T) -> T:
    """Keep once what the pods of a Deployment have alike."""
    return value


def _claims(pod: str, volumes: list[Json]) -> Iterator[str]:
    for volume in volumes:
        if claim := volume.get("persistentVolumeClaim"):
            yield intern(claim["claimName"])
        elif volume.get("ephemeral"):  # the claim that Kubernetes makes for it
            yield f"{pod}-{volume['name']}"


def _term(term: Json) -> tuple[Requirement, ...]:
    """Read a term; an empty one matches no node, as Kubernetes has it."""
    labels = [_requirement(each, intern(each["key"])) for each in term.get("matchExpressions") or []]
    fields = [_requirement(each, _NAME) for each in term.get("matchFields") or []]
    return (*labels, *fields) or _NOTHING


def _requirement(each: Json, key: str) -> Requirement:
    return Requirement(key, intern(each["operator"]), tuple(each.get("values") or ()))


def _toleration(each: Json) -> Toleration:
    return Toleration(
        key=intern(each.get("key") or ""),
        exists=each.get("operator") == "Exists",
        value=intern(each.get("value") or ""),
        effect=intern(each.get("effect") or ""),
    )
