"""Templates in ``source``: ``${pvc.name}``, ``${pvc.namespace}`` and ``${pv.name}``.

One pass, no templates in templates: what is put in is a Kubernetes object name and nothing else.
"""

import re
from collections.abc import Mapping

from csi_model.errors import InvalidArgument

VARIABLES = {
    "pvc.name": "csi.storage.k8s.io/pvc/name",
    "pvc.namespace": "csi.storage.k8s.io/pvc/namespace",
    "pv.name": "csi.storage.k8s.io/pv/name",
}
_TEMPLATE = re.compile(r"\$\{([^}]*)\}")
OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
"""A name as Kubernetes allows it (an RFC 1123 subdomain)."""
_FIELD = "parameters.source"


def expand(text: str, metadata: Mapping[str, str]) -> tuple[str, bool]:
    """Replace the variables in a source.

    Args:
        text: e.g. ``s3://models/${pvc.namespace}/${pvc.name}``.
        metadata: CreateVolume's parameters, among them external-provisioner's ``csi.storage.k8s.io/…`` keys.

    Returns:
        The text, and whether the claim's own words are in it.

    Raises:
        InvalidArgument: a variable is unknown, or the call doesn't carry it, or its value is no object name.

    """
    from_claim = False

    def value(match: re.Match[str]) -> str:
        nonlocal from_claim
        name = match[1]
        if name not in VARIABLES:
            allowed = ", ".join("${" + v + "}" for v in VARIABLES)
            raise InvalidArgument(_FIELD, f"has the unknown variable {match[0][:80]!r}, allowed are {allowed}")
        found = metadata.get(VARIABLES[name])
        if found is None:
            raise InvalidArgument(
                _FIELD,
                f"uses {match[0]}, but the call doesn't carry {VARIABLES[name]}: "
                "run external-provisioner with --extra-create-metadata",
            )
        if not OBJECT_NAME.match(found) or ".." in found:
            raise InvalidArgument(_FIELD, f"uses {match[0]}, whose value is not the name of a Kubernetes object")
        from_claim = True
        return found

    expanded = _TEMPLATE.sub(value, text)
    if "${" in expanded:
        raise InvalidArgument(_FIELD, "has a variable that is not closed with '}'")
    return expanded, from_claim
