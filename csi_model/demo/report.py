"""The demo's last word: a table, what it means, and what to do next."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from csi_model.core.units import bytes_text, duration_text, rate_text
from csi_model.demo.play import Act

_SHOWN = 1000  # bytes fetched below which a speed would say nothing


def report(console: Console, acts: Sequence[Act], *, own_model: bool) -> None:
    """Print the table; the first act is the cold start that the others are compared with."""
    cold, *others = acts
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for heading in ("WAITED", "OF COLD", "FETCHED", "SHARED", "SPEED"):
        table.add_column(heading, justify="right")
    for act in acts:
        table.add_row(
            act.name,
            duration_text(act.seconds),
            "1" if act is cold else _ratio(cold, act),
            bytes_text(act.fetched),
            bytes_text(act.shared),
            rate_text(act.fetched / act.seconds) if act.fetched > _SHOWN else "-",
        )
    console.print()
    console.print(table)
    console.print()
    warm = min(others, key=lambda act: act.seconds)
    console.print(
        f"Once a node has a model, a pod waits {duration_text(warm.seconds)} for it instead of "
        f"{duration_text(cold.seconds)} ({cold.seconds / warm.seconds:,.0f} times less), and what revisions share is "
        "fetched once. The pod reads native files: nothing of csi-model sits between it and its page cache.",
        soft_wrap=True,
    )
    if own_model:
        following = "Next: `csi-model serve --help` to run it for real."
    else:
        following = (
            "The S3 server ran on this machine; with your own store the cold start is longer, the warm one is not: "
            "`csi-model demo --source s3://bucket/model --endpoint https://… --auth secret`."
        )
    console.print(following, soft_wrap=True)


def _ratio(cold: Act, act: Act) -> str:
    return f"1/{cold.seconds / act.seconds:,.0f}" if act.seconds < cold.seconds else "1"
