"""The options of ``serve`` that are about steering: which node holds what, and what the scheduler is told."""

import re
import socket
from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

import click

from csi_model.cli.options import knob, read_size
from csi_model.settings import SteeringSettings

_Function = TypeVar("_Function", bound=Callable[..., Any])
_DEFAULT = SteeringSettings()
_NAMESPACE = re.compile(r"\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


def read_quotas(
    context: click.Context | None, parameter: click.Parameter | None, given: tuple[str, ...]
) -> dict[str, int]:
    """Read ``NAMESPACE=SIZE`` pairs, as click's callbacks do.

    Raises:
        click.BadParameter: one is none, or a namespace has two.

    """
    quotas: dict[str, int] = {}
    for text in given:
        namespace, _, size = text.partition("=")
        if not _NAMESPACE.match(namespace) or namespace in quotas:
            raise click.BadParameter(f"{text!r} is no NAMESPACE=SIZE, or is given twice: say team-a=2TB, or *=500GB")
        quotas[namespace] = read_size(context, parameter, size)
    return quotas


_KNOBS = (
    knob("--namespace", default=_DEFAULT.namespace, metavar="NAME",
         help="The namespace that this controller runs in: its Lease and the webhook's certificate lie there."),
    knob("--identity", default=socket.gethostname, show_default="host name", metavar="NAME",
         help="Name of this controller among those that may lead."),
    knob("--quota", multiple=True, callback=read_quotas, metavar="NAMESPACE=SIZE",
         help="Bytes on all nodes together that the claims of a namespace may have brought ahead, e.g. team-a=2TB; "
              "*=SIZE for every namespace that isn't named. Repeatable."),
    knob("--not-ready-taint", is_flag=True,
         help="Remove the taint csi-model.io/agent-not-ready from nodes whose agent is up."),
    knob("--silent-after", type=click.FloatRange(5), default=_DEFAULT.silent_after, metavar="SECONDS",
         help="Seconds after which a node that says nothing counts as gone: its labels are withdrawn."),
    knob("--evict-grace", type=click.FloatRange(0), default=_DEFAULT.evict_grace, metavar="SECONDS",
         help="Seconds between withdrawing the label of a copy and giving leave to delete it, where pods are steered "
              "strictly (placement: require)."),
    knob("--webhook", metavar="ADDRESS:PORT",
         help="Serve the admission webhook here that makes pods prefer nodes which hold their models."),
    knob("--webhook-spread/--no-webhook-spread", default=True, show_default=True,
         help="Whether the webhook gives pods without topology spread constraints a neutral one, so that the "
              "scheduler's default doesn't spread them away from their models."),
    knob("--heartbeat", type=click.FloatRange(1), default=30.0, metavar="SECONDS",
         help="Seconds at most between two signs of life of a node's agent in its ModelNode."),
)  # fmt: skip


def steering_options(command: _Function) -> _Function:
    """Add the options to a command, in this order."""
    return reduce(lambda wrapped, add: add(wrapped), reversed(_KNOBS), command)


def steering_settings(given: dict[str, Any]) -> SteeringSettings:
    """Make the settings of what was given."""
    return SteeringSettings(
        namespace=given["namespace"],
        identity=given["identity"],
        quotas=given["quota"],
        not_ready_taint=given["not_ready_taint"],
        silent_after=given["silent_after"],
        evict_grace=given["evict_grace"],
    )
