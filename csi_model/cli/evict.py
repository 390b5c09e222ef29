"""``csi-model evict``."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from csi_model.cli import exits
from csi_model.cli.keepers import THROUGH, keeper_of
from csi_model.cli.options import json_option, store_option
from csi_model.cli.tables import console, show_evicted
from csi_model.rpc.verbs import Keeper

_UNUSED = "unused"


@click.command(short_help="Delete models that nothing uses.")
@click.argument("target", metavar="REVISION|unused")
@store_option
@click.option("--dry-run", is_flag=True, help="Only tell what would be deleted.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@json_option
def evict(target: str, store: Path, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete copies of models from a node's disk.

    REVISION is a manifest digest or its first six digits or more, as `csi-model status` shows them; `unused` is all of
    them that no volume holds and the cluster doesn't want on this node. What a volume holds or a pod has mounted is
    never deleted. A deleted model is fetched again when a pod, or the cluster, wants it here.
    """
    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("nobody is there to be asked: say --yes (or --dry-run to look first)")
    with keeper_of(store) as asked:
        if not (dry_run or yes):
            _confirm(asked.keeper, target)
        result = {"agent": asked.agent, **asked.keeper.evict(target, dry_run=dry_run)}
    if as_json:
        click.echo(json.dumps(result, indent=1))
    else:
        show_evicted(console(), result)
        click.echo(f"({THROUGH[asked.agent]})", err=True)
    if _refused(target, result):
        sys.exit(exits.FAILED)


def _confirm(keeper: Keeper, target: str) -> None:
    preview = keeper.evict(target, dry_run=True)
    show_evicted(console(), preview)
    if preview["evicted"]:
        click.confirm("Delete them?", abort=True)


def _refused(target: str, result: Mapping[str, Any]) -> bool:
    """Tell whether a model that was named stays; `unused` promises nothing about what is used."""
    return target != _UNUSED and bool(result["kept"])
