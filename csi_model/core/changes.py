"""Changes: what may be said anew of a volume that lives (CSI's mutable parameters), and what nobody could fulfil."""

from collections.abc import Mapping
from typing import Any

from csi_model.core.fields import CHANGEABLE, Auth, read_fields, render_fields
from csi_model.core.placement import Placement, Wants
from csi_model.errors import InvalidArgument

PROVISIONER_PREFIX = "csi.storage.k8s.io/"
"""Keys that external-provisioner, external-resizer (with ``--extra-…-metadata``) and kubelet (podInfoOnMount) add."""
MUTABLE = "mutable_parameters"
_WANTS = {"warm_replicas": "replicas", "warm_node_selector": "node_selector", "pin": "pin"}


def read_changes(mutable: Mapping[str, str]) -> dict[str, Any]:
    """Read mutable parameters: attributes of a VolumeSpec by name; only those that are named.

    Raises:
        InvalidArgument: a name can't be changed (the nearest one that can is suggested), or a value is malformed.

    """
    own = {key: value for key, value in mutable.items() if not key.startswith(PROVISIONER_PREFIX)}
    return read_fields(own, CHANGEABLE, where=MUTABLE)


def change(wants: Wants, mutable: Mapping[str, str]) -> Wants:
    """Return what a volume wants after a change; what isn't named stays as it is.

    Raises:
        InvalidArgument: as :func:`read_changes`; then nothing is changed.

    """
    changed = {_WANTS[name]: value for name, value in read_changes(mutable).items()}
    current = {"replicas": wants.replicas, "node_selector": wants.node_selector, "pin": wants.pin}
    return Wants(**{**current, **changed})


def in_words(wants: Wants) -> str:
    """Tell what a volume wants as its author would have written it."""
    values = {name: getattr(wants, attribute) for name, attribute in _WANTS.items()}
    return ", ".join(f"{name}: {text or 'none'}" for name, text in render_fields(values).items())


def check_bringable(auth: Auth, wants: Wants, placement: Placement = Placement.PREFER, *, where: str) -> None:
    """Refuse to promise copies that nobody could make: secrets reach a node only in the calls for a pod on it.

    Args:
        auth: whose rights read the source.
        wants: what the volume is to want.
        placement: how its pods are to be steered.
        where: what to call the map of parameters in errors.

    Raises:
        InvalidArgument: the source is read with a Secret, and copies are wanted before there is a pod.

    """
    if auth != Auth.SECRET:
        return
    why = (
        "and auth is secret: a Secret reaches a node only with a pod, so nobody could bring the model before. "
        "Use auth: ambient (the driver's own role) or anonymous"
    )
    if wants.replicas:
        raise InvalidArgument(f"{where}.warmReplicas", f"asks for copies ahead of pods, {why}, or leave it at 0")
    if placement == Placement.REQUIRE:
        raise InvalidArgument(f"{where}.placement", f"is require, which waits for a copy, {why}, or placement: prefer")
