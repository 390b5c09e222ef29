"""One run of the benchmark: who takes part, what they use, and what was found."""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import psutil

from bench.scale.agents import Agents
from bench.scale.audit import Audit
from bench.scale.client import Client
from bench.scale.controller import Controller
from bench.scale.figures import Figure
from bench.scale.observer import Observer
from bench.scale.timetable import Timetable
from bench.scale.world import World


@dataclass(slots=True)
class Run:
    """Who takes part, and what was found so far.

    Attributes:
        world: the simulated cluster as it began.
        admin: the API, for whatever the simulation does.
        agents: of the nodes.
        observer: sees the Nodes' labels.
        timetable: what the agents are about to do.
        audit: what the controller writes.
        servers: pids of the API server and etcd.
        say: tells people how far it is.
        figures: what was found.
        details: more of it, for machines.
        chance: chooses, always the same.

    """

    world: World
    admin: Client
    agents: Agents
    observer: Observer
    timetable: Timetable
    audit: Audit
    servers: Sequence[int]
    say: Callable[[str], None]
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def add(self, *figures: Figure) -> None:
        for figure in figures:
            self.figures.append(figure)
            value = "-" if figure.value is None else f"{figure.value:.3g}"
            self.say(f"{figure.what}: {value} {figure.unit} ({figure.note})")

    def pairs(self, count: int) -> list[tuple[str, str]]:
        """Choose nodes and steered revisions that aren't there."""
        revisions = [model.revision for model in self.world.models if model.steered]
        names, chosen = list(self.world.nodes), dict[tuple[str, str], None]()
        while len(chosen) < count:
            pair = self.chance.choice(names), self.chance.choice(revisions)
            if self.agents.lacks(*pair):
                chosen[pair] = None
        return list(chosen)


class Contending(Protocol):
    """Whoever plays the controller."""

    now: Controller

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


@dataclass(slots=True)
class Use:
    """What was used during a block: seconds, and cores on average.

    Attributes:
        seconds: that it took.
        cores: of the controller.
        servers: of the API server and etcd.
        simulation: of this process.
        others: of whatever else runs on the machine.
        late: seconds that the simulation was behind at most.
        writes: of the controller, by verb and resource.

    """

    seconds: float = 0.0
    cores: float = 0.0
    servers: float = 0.0
    simulation: float = 0.0
    others: float = 0.0
    late: float = 0.0
    writes: dict[str, int] = field(default_factory=dict)

    def in_words(self) -> str:
        """Tell all but the controller's own."""
        cores = (
            f"API server and etcd {self.servers:.2g} cores, simulation {self.simulation:.2g}, others {self.others:.2g}"
        )
        return f"{cores}; the simulation was {self.late:.2g} s late at most"


@contextmanager
def used(run: Run, controller: Controller) -> Iterator[Use]:
    """Measure what is used during a block."""
    use, mark, begun = Use(), run.audit.mark(), time.monotonic()
    before = _seconds(run, controller)
    run.timetable.latest()
    yield use
    use.seconds = time.monotonic() - begun
    spent = [after - earlier for after, earlier in zip(_seconds(run, controller), before, strict=True)]
    use.cores, use.servers, use.simulation, everything = (seconds / use.seconds for seconds in spent)
    use.others = max(0.0, everything - use.cores - use.servers - use.simulation)
    use.writes, use.late = dict(run.audit.since(mark)), run.timetable.latest()


def _seconds(run: Run, controller: Controller) -> list[float]:
    """Return the processor seconds of the controller, the servers, ourselves, and everybody."""
    servers = [psutil.Process(pid).cpu_times() for pid in run.servers]
    own, everybody = os.times(), psutil.cpu_times()
    busy = sum(everybody) - everybody.idle - everybody.iowait - everybody.guest - everybody.guest_nice
    return [controller.cpu(), sum(t.user + t.system for t in servers), own.user + own.system, busy]
