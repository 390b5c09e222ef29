"""``python -m bench.scale``: measure the controller in a large simulated cluster (see docs/scale.md)."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import children
from bench.machine import machine
from bench.scale import figures, filling, manifests, phases
from bench.scale.agents import Agents
from bench.scale.audit import Audit
from bench.scale.client import Refused
from bench.scale.contender import Contender
from bench.scale.control_plane import ControlPlane, NotReady, control_plane
from bench.scale.follower import Follower
from bench.scale.observer import Observer
from bench.scale.phases import NeverRight
from bench.scale.processes import free_port
from bench.scale.run import Run
from bench.scale.sizes import FULL, QUICK
from bench.scale.timetable import Timetable
from bench.scale.world import World, world
from csi_model.cli.tables import console
from csi_model.cluster import model_node
from hack.fetching import NotFetched

RESULTS = Path(__file__).resolve().parents[1] / "results" / "scale.json"
_begun = time.monotonic()


def main() -> int:
    options = _parsed()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    children.adopt_orphans()
    work = Path(tempfile.mkdtemp(prefix="csi-model-scale-", dir=options.work))
    found, failure = _Found(), ""
    try:
        _measure(options, work, found)
    except KeyboardInterrupt:
        failure = "interrupted"
    except (NotFetched, NotReady, NeverRight, Refused, OSError) as error:
        failure = f"{type(error).__name__}: {error}"
    finally:
        children.end_leftovers()
        last = _last_words(work / "controller.log")
        if options.logs:
            _keep(work, options.logs)
        shutil.rmtree(work, ignore_errors=True)
    if found.run is not None:
        found.run.details["failed actions"] = dict(found.run.timetable.failures)
        say(f"failed actions of the simulation: {found.run.details['failed actions'] or 'none'}")
    if found.run is not None and found.run.figures:
        _hand_out(found.run, options, RESULTS.with_stem("scale-interrupted") if failure else RESULTS)
    if failure:
        say(f"{failure}\nThe controller's last words:\n{last}")
    return 1 if failure else 0


class _Found:
    """What there is to show, also of a run that was interrupted."""

    run: Run | None = None


def _measure(options: argparse.Namespace, work: Path, found: _Found) -> None:
    cluster = world(QUICK if options.quick else FULL)
    with control_plane(work) as plane:
        say("the API server is ready")
        port = free_port()
        say(f"installed: {', '.join(sorted(manifests.install(plane.admin, options.manifests, webhook_port=port)))}")
        filling.fill(plane.admin, cluster, say)
        with _simulated(plane, cluster) as run, ExitStack() as stack:
            found.run = run
            contender = Contender(plane, port, run, stack)
            contender.start()
            phases.converges(run, contender)
            for phase in (phases.idles, phases.stages, phases.bursts, phases.orders):
                phase(run, contender)
                phases.settles(run)
            phases.reviews(run, contender)
            for how in ("stopped", "killed"):
                phases.restarts(run, contender, how)
                phases.settles(run)
            contender.weigh()


@contextmanager
def _simulated(plane: ControlPlane, cluster: World) -> Iterator[Run]:
    """Run the agents, and whoever looks on."""
    with ExitStack() as stack:
        timetable = Timetable()
        stack.callback(timetable.close)
        agents, observer = Agents(plane.admin, cluster, timetable), Observer()
        stack.enter_context(Follower(plane.admin, "/api/v1/nodes", observer.tell, metadata=True))
        stack.enter_context(Follower(plane.admin, model_node.PATH, agents.tell))
        yield Run(cluster, plane.admin, agents, observer, timetable, Audit(plane.audit), plane.servers, say)


def _hand_out(run: Run, options: argparse.Namespace, file: Path) -> None:
    sizes = run.world.sizes
    title = f"{sizes.nodes} nodes, {sizes.volumes} volumes, {sizes.copies} copies a node, {sizes.pods} pods"
    console().print(figures.table(run.figures, title))
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(options.work).as_json(),
        "sizes": asdict(sizes),
        "figures": figures.as_json(run.figures),
        "details": run.details,
    }
    file.parent.mkdir(exist_ok=True)
    plain = json.dumps(document, indent=1, default=lambda value: asdict(value) if is_dataclass(value) else str(value))
    file.write_text(plain)
    file.with_suffix(".md").write_text(figures.markdown(run.figures))
    say(f"figures in {file}, as a table for a page in {file.with_suffix('.md').name}")


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the cluster, and shorter")
    parser.add_argument("--manifests", type=Path, default=manifests.INSTALL, help="the rendered chart")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="scratch directory")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the programs' logs there")
    return parser.parse_args()


def _keep(work: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for log in work.glob("*.log"):
        shutil.copy(log, folder)


def _last_words(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else ""


def say(text: str) -> None:
    print(f"{time.monotonic() - _begun:6.1f} s  {text}", flush=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
