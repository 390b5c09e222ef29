"""``csi-model verify``."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from csi_model.cli import exits
from csi_model.cli.keepers import THROUGH, keeper_of
from csi_model.cli.options import json_option, store_option
from csi_model.cli.tables import console, show_verified
from csi_model.core.units import bytes_text
from csi_model.rpc.verbs import Keeper

_PATIENCE = 2.0  # seconds without a sign of life
_STEP = 10.0  # seconds between two lines where there is no terminal


@click.command(short_help="Read staged models again and look for damage.")
@click.argument("revision", required=False)
@store_option
@json_option
def verify(revision: str | None, store: Path, *, as_json: bool) -> None:
    """Read staged copies again, past the page cache, and compare every chunk with its digest.

    REVISION is a manifest digest or its first six digits or more, as `csi-model status` shows them; without it all are
    read. A damaged file is taken away with every model that has it, and is fetched anew when a pod wants it. With
    --json each finding is one line: a "file" event per file, then a "revision" event. Exits with 3 if there was damage.
    """
    out = console()
    damaged = False
    with keeper_of(store) as asked:
        events: Iterable[Mapping[str, Any]] = asked.keeper.verify(revision)
        if not as_json:
            events = _with_progress(events, _bytes_to_read(asked.keeper, revision))
        for event in events:
            damaged |= event["event"] == "revision" and bool(event["damaged"])
            if as_json:
                click.echo(json.dumps(event))
            else:
                show_verified(out, event)
    if not as_json:
        click.echo(f"({THROUGH[asked.agent]})", err=True)
    sys.exit(exits.DAMAGED if damaged else exits.OK)


def _bytes_to_read(keeper: Keeper, revision: str | None) -> int:
    staged = [item for item in keeper.status()["revisions"] if item["warmth"] == "staged"]
    return sum(item["bytes"] or 0 for item in staged if item["manifest"].startswith(revision or ""))


def _with_progress(events: Iterable[Mapping[str, Any]], total: int) -> Iterator[Mapping[str, Any]]:
    """Pass events on and show on standard error how far they are, once they take more than a moment."""
    started = time.monotonic()
    done = 0
    with _bar(console(stderr=True), total) as show:
        for event in events:
            yield event
            if event["event"] == "file":
                done += event["bytes"]
                if time.monotonic() - started > _PATIENCE:
                    show(done)


@contextmanager
def _bar(err: Console, total: int) -> Iterator[Any]:
    if err.is_terminal:
        columns = (
            TextColumn("verifying"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        progress = Progress(*columns, console=err, transient=True)
        task = progress.add_task("", total=total)

        def move(done: int) -> None:
            progress.start()
            progress.update(task, completed=done)

        try:
            yield move
        finally:
            progress.stop()
        return
    spoken = 0.0

    def speak(done: int) -> None:
        nonlocal spoken
        if time.monotonic() - spoken > _STEP:
            spoken = time.monotonic()
            err.print(f"verified {bytes_text(done)} of {bytes_text(total)}")

    yield speak
