"""The README's picture, from the results' JSON: how fast each tool is, and how long a pod waits.

``python -m bench.plot [RESULTS.json [PICTURE.png]]`` draws it again.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from bench.rows import OURS

_OURS, _OTHERS, _READ = "#2a7f4f", "#9aa5b1", "#d9a441"


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draw a PNG; without pod figures only the left half."""
    pods = [row for row in pod_rows(results) if row["read_seconds"] is not None]
    figure, axes = plt.subplots(
        1, 2 if pods else 1, figsize=(13 if pods else 7, 4.6), layout="constrained", squeeze=False
    )
    _throughput(axes[0][0], results)
    if pods:
        _cold_start(axes[0][1], pods)
    machine = results["machine"]
    figure.supxlabel(
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']:.0f} GiB, Linux {machine['kernel']}, "
        f"{machine['filesystem']}; client and server share the machine; {results['date'][:10]}",
        fontsize=8,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def pod_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the pod section's rows, none if it failed or wasn't measured."""
    section = results.get("pod", [])
    return section if isinstance(section, list) else []


def _throughput(axes: Axes, results: Mapping[str, Any]) -> None:
    rows = [
        row for row in results["rows"]
        if (row["workload"], row["source"], row["tls"]) == ("one", "minio", False) and row["durable"]
    ]  # fmt: skip
    rows.sort(key=lambda row: row["mb_per_s"])
    spread = [[row["mb_per_s"] - row["mb_per_s_min"], row["mb_per_s_max"] - row["mb_per_s"]] for row in rows]
    bars = axes.barh(
        [row["tool"] for row in rows], [row["mb_per_s"] for row in rows],
        color=[_OURS if row["tool"] in OURS else _OTHERS for row in rows],
        xerr=list(zip(*spread, strict=True)) or None, ecolor="#555555",
    )  # fmt: skip
    axes.bar_label(bars, fmt="%.0f", label_type="center", color="white", fontsize=8)
    for bound in results["bound"]["tables"]:
        if (bound["workload"], bound["source"], bound["tls"]) == ("one", "minio", False):
            axes.axvline(bound["mb_per_s"], color="black", linestyle=":", linewidth=1)
            axes.text(bound["mb_per_s"], 0, " bound", fontsize=8)
    axes.set_title("One large file from MinIO to disk, durable", fontsize=10)
    axes.set_xlabel("MB/s (median, min-max); more is better")


def _cold_start(axes: Axes, rows: list[dict[str, Any]]) -> None:
    rows = sorted(rows, key=lambda row: -row["seconds"])
    names = [row["how"] for row in rows]
    first = [row["seconds"] - row["read_seconds"] for row in rows]
    axes.barh(
        names, first, color=[_OURS if row["how"].startswith(OURS) else _OTHERS for row in rows], label="until there"
    )
    axes.barh(names, [row["read_seconds"] for row in rows], left=first, color=_READ, label="first full read")
    axes.set_title("Cold start: until the whole model has been read once", fontsize=10)
    axes.set_xlabel("seconds; less is better")
    axes.tick_params(axis="y", labelsize=8)
    axes.legend(fontsize=8)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    given = dict(enumerate(sys.argv))
    source = Path(given.get(1, here / "results" / "latest.json"))
    picture = Path(given.get(2, here.parent / "docs" / "images" / "bench.png"))
    draw(json.loads(source.read_text()), picture)
