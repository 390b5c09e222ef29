"""The chart as it was before its last change."""

from pathlib import Path

from e2e.cluster.shell import CommandFailed, run
from e2e.driver import CHART
from e2e.driver_image import ROOT


def previous_chart(folder: Path) -> Path:
    """Write the chart of the commit before the last one that changed it, and return its directory.

    A change that isn't committed yet is one, too. A chart with no such past (its first commit, a clone that doesn't
    reach back so far, or no clone at all) is its own previous one.

    Args:
        folder: an empty directory.

    """
    inside = str(CHART.relative_to(ROOT))
    if not _git("rev-parse", "--is-inside-work-tree", check=False):
        return CHART
    changed = _git("status", "--porcelain", "--", inside)
    before = "HEAD" if changed else f"{_git('log', '-1', '--format=%H', '--', inside)}^"
    if not _git("ls-tree", before, f"{inside}/Chart.yaml", check=False):
        return CHART
    archive = folder / "chart.tar"
    _git("archive", "--output", str(archive), before, inside)
    run("tar", "-xf", archive, "-C", folder)
    return folder / inside


def _git(*words: str, check: bool = True) -> str:
    try:
        # The repository may be somebody else's: the suite runs as root
        return run("git", "-C", ROOT, "-c", f"safe.directory={ROOT}", *words, check=check).strip()
    except FileNotFoundError as error:
        raise CommandFailed("git isn't installed, and the previous chart is in its history") from error
