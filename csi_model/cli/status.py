"""``csi-model status``."""

import json
from pathlib import Path

import click

from csi_model.cli.keepers import THROUGH, keeper_of
from csi_model.cli.options import json_option, store_option
from csi_model.cli.tables import console, show_status


@click.command(short_help="Show the store's room, its models and who holds them.")
@store_option
@json_option
def status(store: Path, *, as_json: bool) -> None:
    """Show what a node's store holds: its room, each model with its warmth and progress, the volumes that hold it.

    Warmth is cold (nothing here yet), warming (being fetched) or staged (the whole verified copy is on this disk).
    CHECKED counts the files whose bytes were compared with a checksum of the source's own; the others are pinned by
    version or ETag. Asks the running agent; with none running it reads the store itself.
    """
    with keeper_of(store) as asked:
        answer = {"agent": asked.agent, **asked.keeper.status()}
    if as_json:
        click.echo(json.dumps(answer, indent=1))
        return
    show_status(console(), answer)
    click.echo(f"({THROUGH[asked.agent]})", err=True)
