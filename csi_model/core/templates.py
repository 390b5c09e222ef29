"""Templates in ``source``: ``${pvc.name}``, ``${pvc.namespace}``, ``${pv.name}`` and ``${pvc.annotations['NAME']}``.

One pass, no templates in templates. What is put in is the name of a Kubernetes object, or an annotation's value: that
is written by whoever makes the claim, so it has to be made of plain characters only, and what became of the source has
to be covered by the class's ``allowedSources``.
"""

import re
from collections.abc import Callable, Mapping

from csi_model.errors import ClaimIncomplete, InvalidArgument

VARIABLES = {
    "pvc.name": "csi.storage.k8s.io/pvc/name",
    "pvc.namespace": "csi.storage.k8s.io/pvc/namespace",
    "pv.name": "csi.storage.k8s.io/pv/name",
}
Annotations = Callable[[], Mapping[str, str]]
"""Looks the claim's annotations up; raises ClaimIncomplete if there is no such claim."""
OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
"""A name as Kubernetes allows it (an RFC 1123 subdomain)."""
MAX_ANNOTATION = 1024
"""Characters of an annotation's value: no reference is longer."""
_TEMPLATE = re.compile(r"\$\{([^}]*)\}")
_ANNOTATION = re.compile(
    r"pvc\.annotations\['(([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)'\]\Z"
)
# No white space, nothing that means something in a URL or a glob ('%', '?', '*', …), no '$', nothing that looks alike.
_PLAIN = re.compile(r"[A-Za-z0-9._~:/@+=,-]+\Z")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")
_FIELD = "parameters.source"


def uses_annotations(text: str) -> bool:
    """Tell whether what becomes of a source depends on the claim's annotations."""
    return any(_ANNOTATION.match(name) for name in _TEMPLATE.findall(text))


def expand(
    text: str, metadata: Mapping[str, str], annotations: Annotations | None = None, *, field: str = _FIELD
) -> tuple[str, bool]:
    """Replace the variables in a source.

    Args:
        text: e.g. ``s3://models/${pvc.namespace}/${pvc.name}``.
        metadata: CreateVolume's parameters, among them external-provisioner's ``csi.storage.k8s.io/…`` keys.
        annotations: looks the claim's annotations up, once and only if they are used; None where nobody can.
        field: the parameter's name.

    Returns:
        The text, and whether the claim's own words are in it.

    Raises:
        InvalidArgument: a variable is unknown, or the call doesn't carry it, or its value isn't what it has to be.
        ClaimIncomplete: there is no such annotation, or no such claim.

    """
    from_claim = False
    found: Mapping[str, str] | None = None

    def value(match: re.Match[str]) -> str:
        nonlocal from_claim, found
        from_claim = True
        annotation = _ANNOTATION.match(match[1])
        if annotation is None:
            return _object_name(match, metadata, field)
        if annotations is None:
            raise InvalidArgument(field, f"uses {match[0]}, which this driver can't look up: no cluster is known to it")
        found = annotations() if found is None else found
        return _annotation(annotation[1], found)

    expanded = _TEMPLATE.sub(value, text)
    if "${" in expanded:
        raise InvalidArgument(field, "has a variable that is not closed with '}'")
    return expanded, from_claim


def _object_name(match: re.Match[str], metadata: Mapping[str, str], field: str) -> str:
    if match[1] not in VARIABLES:
        allowed = ", ".join("${" + name + "}" for name in [*VARIABLES, "pvc.annotations['NAME']"])
        raise InvalidArgument(field, f"has the unknown variable {match[0][:80]!r}, allowed are {allowed}")
    key = VARIABLES[match[1]]
    found = metadata.get(key)
    if found is None:
        raise InvalidArgument(
            field,
            f"uses {match[0]}, but the call doesn't carry {key}: run external-provisioner with --extra-create-metadata",
        )
    if not OBJECT_NAME.match(found) or ".." in found:
        raise InvalidArgument(field, f"uses {match[0]}, whose value is not the name of a Kubernetes object")
    return found


def _annotation(name: str, annotations: Mapping[str, str]) -> str:
    """Return an annotation's value; errors don't repeat it, since it may be anything, a password too."""
    value = annotations.get(name)
    if value is None:
        raise ClaimIncomplete(
            f"the claim has no annotation {name}: its class takes the model from there; set it, and the claim is "
            "looked at again by itself"
        )
    what = f"the claim's annotation {name}"
    if not isinstance(value, str) or not _PLAIN.match(value):
        raise InvalidArgument(what, "has to be made of letters and digits of ASCII and of . _ ~ : / @ + = , - alone")
    if len(value) > MAX_ANNOTATION:
        raise InvalidArgument(what, f"has more than {MAX_ANNOTATION} characters")
    scheme = _SCHEME.match(value)
    names = value[scheme.end() if scheme else 0 :].removesuffix("/").split("/")
    if {"", ".", ".."} & set(names):
        raise InvalidArgument(what, "has an empty name, '.' or '..' between its slashes")
    return value
