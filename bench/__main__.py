"""``python -m bench``: run the benchmark (see bench/README.md)."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import children, fetch_tools, plot, report, tables, workloads
from bench.campaign import Campaign, NoRoom, say
from bench.contestants import UnknownTool, contestants, provide_programs, sections
from bench.machine import machine
from bench.report import Results
from bench.servers import ServerFailed
from csi_model.cli.tables import console

RESULTS = Path(__file__).resolve().parent / "results"
PICTURE = Path("docs/images/bench.png")
_SECTIONS = ("pod", "resume", "warm")


def main() -> int:
    options = parsed(sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    children.adopt_orphans()
    work = Path(tempfile.mkdtemp(prefix="csi-model-bench-", dir=options.work))
    results = Results(machine(work), datetime.now(UTC).isoformat(timespec="seconds"), " ".join(sys.argv[1:]))
    start = time.monotonic()
    failure = ""
    try:
        _campaign(options, work, results).run()
    except KeyboardInterrupt:
        failure = "interrupted"
    except (NoRoom, ServerFailed, fetch_tools.NotFetched, UnknownTool) as error:
        failure = str(error)
    finally:
        children.end_leftovers()
        shutil.rmtree(work, ignore_errors=True)
    results.seconds = time.monotonic() - start
    if results.rows:
        _hand_out(results, options, whole=not failure)
    if failure:
        say(failure)
    return 1 if failure else 0


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the size, fewer tables and rounds")
    parser.add_argument("--workloads", type=_names(workloads.NAMES), default=(), metavar="A,B")
    parser.add_argument("--sources", type=_names(tables.SOURCES), default=(), metavar="A,B")
    parser.add_argument("--tools", type=_names(()), default=(), metavar="A,B", help="only these contenders")
    parser.add_argument("--sections", type=_names(_SECTIONS), default=_SECTIONS, metavar="A,B", help="'' for none")
    parser.add_argument("--rounds", type=int, help="downloads of each tool in each table (3; quick: 1)")
    parser.add_argument(
        "--scale", type=float, help="multiplies large files' sizes and the small ones' number (0.5; quick: 0.25)"
    )
    parser.add_argument("--tls", action=argparse.BooleanOptionalAction, default=None, help="only with, only without")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="scratch directory on the disk to measure")
    parser.add_argument("--no-plot", action="store_true")
    options = parser.parse_args(arguments)
    options.scale = options.scale or (0.25 if options.quick else 0.5)
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def _names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def names(text: str) -> tuple[str, ...]:
        found = tuple(name for name in text.split(",") if name)
        unknown = [name for name in found if known and name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
        return found

    return names


def _campaign(options: argparse.Namespace, work: Path, results: Results) -> Campaign:
    plan = tables.chosen(
        tables.QUICK if options.quick else tables.DEFAULT,
        workloads=options.workloads, sources=options.sources, tls=options.tls,
    )  # fmt: skip
    provide_programs(say)
    tools = contestants(options.tools, say)
    beside = sections(options.sections, say)
    return Campaign(tools, plan, beside, options.rounds, options.scale, work, results)


def _hand_out(results: Results, options: argparse.Namespace, *, whole: bool) -> None:
    report.show(results, console())
    path = RESULTS / ("latest.json" if whole else "interrupted.json")
    report.write_json(results, path)
    say(f"took {results.seconds:.0f} s; figures in {path}")
    if whole and not options.no_plot:
        part = options.quick or options.workloads or options.sources or options.tools or options.tls is not None
        picture = RESULTS / "latest.png" if part else PICTURE
        plot.draw(results.as_json(), picture)
        say(f"picture in {picture}")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
