"""Tables for people, from a keeper's answers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from csi_model.core.units import bytes_text

SHORT = 12
"""Hex digits of a Manifest digest that are shown; `verify` and `evict` take as few as six."""
_ENDINGS = {
    "read": "read to the end", "in_memory": "found all in memory", "no_room": "ran out of memory",
    "unwanted": "whose pod left", "failed": "failed",
}  # fmt: skip
_STYLES = {"staged": "green", "warming": "yellow", "cold": "dim"}


def console(*, stderr: bool = False) -> Console:
    """Return a console that keeps lines whole where nobody looks at a terminal (a pipe, a log)."""
    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal:
        made = Console(stderr=stderr, highlight=False, width=200)
    return made


def show_status(out: Console, status: Mapping[str, Any]) -> None:
    """Print what a store holds."""
    store = status["store"]
    out.print(
        f"{store['root']}: {bytes_text(store['used_bytes'])} of {bytes_text(store['total_bytes'])} in use on its disk, "
        f"{bytes_text(store['available_bytes'])} left for models "
        f"(up to {store['high_watermark']:.0%}; {bytes_text(store['reserved_bytes'])} promised)",
        soft_wrap=True,
    )
    if status["page_cache"]:
        out.print(_page_cache(status["page_cache"]), soft_wrap=True)
    if status["revisions"]:
        out.print(_revisions(status["revisions"]))
    else:
        out.print("No models yet.")
    if status["holds"]:
        out.print(_holds(status["holds"]))
    if status["unreadable_holds"]:
        names = ", ".join(name[:SHORT] for name in status["unreadable_holds"])
        out.print(f"Holds that can't be read (whatever is mounted stays protected): {names}", style="yellow")


def _page_cache(figures: Mapping[str, Any]) -> str:
    ended = ", ".join(f"{count} {_ENDINGS[ending]}" for ending, count in figures["ended"].items())
    return (
        f"Memory has room for {bytes_text(figures['room_bytes'])} of models; "
        f"{bytes_text(figures['read_ahead_bytes'])} read ahead for pods, {figures['running']} running"
        + (f" (ended: {ended})" if ended else "")
    )


def _revisions(revisions: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("REVISION", "SOURCE", "WARMTH", "SIZE", "FILES", "CHECKED", "VOLUMES", "")
    for item in revisions:
        size = "?" if item["bytes"] is None else bytes_text(item["bytes"])
        table.add_row(
            item["manifest"][:SHORT],
            Text(item["source"], overflow="fold"),
            Text(item["warmth"], _STYLES.get(item["warmth"], "")),
            size,
            _count(item["files"]),
            _count(item["checked_files"]),
            str(len(item["held_by"])),
            Text(_remark(item), overflow="fold"),
        )
    return table


def _remark(item: Mapping[str, Any]) -> str:
    if item["progress"]:
        return str(item["progress"]["words"])
    remarks = ["pinned"] if item["pinned"] else []
    if item["warmth"] == "staged" and not item["held_by"]:
        released = f" since {_moment(item['released'])}" if item["released"] else ""
        remarks.append(f"unused{released}")
    return ", ".join(remarks)


def _holds(holds: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("VOLUME", "REVISION", "STAGED SINCE", "PUBLISHED AT")
    for item in holds:
        targets = "\n".join(item["targets"]) or "-"
        table.add_row(
            Text(item["volume_id"]), item["manifest"][:SHORT], _moment(item["since"]), Text(targets, overflow="fold")
        )
    return table


def show_verified(out: Console, event: Mapping[str, Any]) -> None:
    """Print a revision's result, or a damaged file; sound files say nothing."""
    name = event["manifest"][:SHORT]
    if event["event"] == "file":
        if event["problem"]:
            out.print(f"{name} {event['path']}: {event['problem']}", style="red", markup=False, soft_wrap=True)
        return
    damaged = event["damaged"]
    if not damaged:
        out.print(f"{name}: sound, {bytes_text(event['bytes'])} read and compared", soft_wrap=True)
        return
    others = [other[:SHORT] for other in event["withdrawn"] if other != event["manifest"]]
    also = f" (and with it {', '.join(others)}, which share a file)" if others else ""
    out.print(
        f"{name}: {len(damaged)} damaged files; withdrawn{also}: the next staging fetches them anew",
        style="red", soft_wrap=True,
    )  # fmt: skip


def show_evicted(out: Console, result: Mapping[str, Any]) -> None:
    """Print what an eviction did, or would do."""
    verb = "Would delete" if result["dry_run"] else "Deleted"
    names = ", ".join(name[:SHORT] for name in result["evicted"])
    if names:
        out.print(f"{verb} {len(result['evicted'])} models, {bytes_text(result['bytes'])}: {names}", soft_wrap=True)
    elif not result["kept"]:
        out.print("Nothing to delete.")
    for name, reason in result["kept"].items():
        out.print(f"Kept {name[:SHORT]}: {reason}", markup=False, soft_wrap=True)


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        right = heading in ("SIZE", "FILES", "CHECKED", "VOLUMES")
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading in ("REVISION", "WARMTH"))
    return table


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
