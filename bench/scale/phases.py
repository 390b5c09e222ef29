"""What is measured, one thing after the other."""

import time
from collections.abc import Mapping, Sequence

from bench.scale import audit, webhook
from bench.scale.controller import Controller
from bench.scale.figures import Figure, Spread
from bench.scale.filling import MODEL_VOLUMES
from bench.scale.objects import volume_name_of
from bench.scale.observer import Sighting
from bench.scale.run import Contending, Run, used
from csi_model.core.placement import STAGED, label_of

PATIENCE = 180.0  # seconds for anything to come right
_LATE = 30.0  # seconds that a label may take before it counts as never
_QUIET = 6.0  # seconds without a write of the controller after which it has settled
_PAUSE = 0.5


class NeverRight(Exception):
    """The controller doesn't do what it is for, so that there is nothing to measure."""


def converges(run: Run, contending: Contending) -> None:
    """From nothing: every node gets its ModelNode and its labels."""
    labels = sum(map(len, run.agents.labels().values()))
    right = run.observer.until_right(run.agents.labels(), PATIENCE)
    if right is None:
        raise NeverRight(f"{run.observer.wrong(run.agents.labels())} of {labels} labels are wrong after {PATIENCE:g} s")
    note = f"{len(run.world.nodes)} ModelNodes made, {labels} labels set"
    run.add(Figure("first start until every label is right", _since(contending.now, right), "s", note=note))
    settles(run)
    run.agents.live()


def settles(run: Run) -> None:
    """Wait until the controller writes nothing more but its lease, and the nodes bring nothing."""
    mark, since = run.audit.mark(), time.monotonic()
    deadline = since + PATIENCE
    while time.monotonic() < min(since + _QUIET, deadline):
        time.sleep(_PAUSE)
        if audit.without_leases(run.audit.since(mark)) or run.agents.busy():
            mark, since = run.audit.mark(), time.monotonic()
    if time.monotonic() >= deadline:
        run.say(f"the controller never came to rest: {dict(run.audit.since(mark))}, {run.agents.busy()} being brought")


def idles(run: Run, contending: Contending) -> None:
    """Nothing but heartbeats."""
    sizes = run.world.sizes
    with used(run, contending.now) as use:
        time.sleep(sizes.measured)
    note = f"{sizes.nodes / sizes.heartbeat:.0f} heartbeats/s; {use.in_words()}"
    run.add(
        Figure("idle: processor", use.cores, "cores", 1, note),
        Figure("idle: API writes", audit.without_leases(use.writes) / use.seconds, "/s", note="leases left out"),
    )
    run.details["idle"] = use


def stages(run: Run, contending: Contending) -> None:
    """Copies arrive at a steady rate."""
    sizes = run.world.sizes
    count = round(sizes.rate * sizes.measured)
    with used(run, contending.now) as use:
        begun = time.monotonic() + 1
        sightings = [
            _staged_at(run, pair, begun + i / sizes.rate + sizes.warming) for i, pair in enumerate(run.pairs(count))
        ]
        time.sleep(max(0.0, begun + sizes.measured + sizes.warming - time.monotonic()))
        run.observer.all_seen(_LATE)
    seen = spread_of(sightings)
    words = audit.in_words(use.writes, count)
    run.add(
        seen.figure(f"{sizes.rate:g} stagings/s: last byte committed until the label is seen", most=3),
        spread_of(sightings, run.agents.accepted).figure("of that since the API server took the report"),
        Figure("meanwhile: processor", use.cores, "cores", 1, use.in_words()),
        Figure("API writes per staged copy", audit.without_leases(use.writes) / count, "", note=words),
    )
    run.details["stages"] = use


def bursts(run: Run, contending: Contending) -> None:
    """Copies arrive on many nodes at once."""
    count = run.world.sizes.burst
    with used(run, contending.now) as use:
        committed = time.monotonic() + run.world.sizes.warming + 1
        sightings = [_staged_at(run, pair, committed) for pair in run.pairs(count)]
        time.sleep(run.world.sizes.warming + 1)
        run.observer.all_seen(_LATE)
    what = f"{count} stagings at once: last byte committed until the label is seen"
    run.add(
        spread_of(sightings).figure(what, most=3),
        spread_of(sightings, run.agents.accepted).figure("of that since the API server took the report"),
    )
    run.details["burst"] = use


def orders(run: Run, contending: Contending) -> None:
    """A volume wants to be on many more nodes."""
    model = next(model for model in run.world.models if model.steered and not model.wants.replicas)
    already = sum(not run.agents.lacks(node, model.revision) for node in run.world.nodes)
    more = run.world.sizes.ordered
    with used(run, contending.now) as use:
        begun = time.monotonic()
        wants = {"replicas": str(already + more), "nodeSelector": "", "pin": False}
        run.admin.patch(f"{MODEL_VOLUMES}/{volume_name_of(model)}", {"spec": {"wants": wants}})
        deadline = begun + _LATE
        while len(run.agents.orders(model.revision)) < already + more and time.monotonic() < deadline:
            time.sleep(_PAUSE / 10)
        told = run.agents.orders(model.revision)
        while run.agents.busy() and time.monotonic() < deadline + run.world.sizes.warming:
            time.sleep(_PAUSE / 10)
        right = run.observer.until_right(run.agents.labels(), _LATE)
    spread = Spread.of([at - begun for at in told.values()], missing=max(0, already + more - len(told)))
    note = f"{already} copies were there, {more} nodes more; a copy takes {run.world.sizes.warming:g} s"
    run.add(
        spread.figure("a volume wants more nodes: until a node is told"),
        Figure("until all are labelled", None if right is None else right - begun, "s", note=note),
    )
    run.details["orders"] = use


def restarts(run: Run, contending: Contending, how: str) -> None:
    """No controller for a moment; meanwhile a copy arrives and somebody edits labels.

    Args:
        run: what goes on.
        contending: the controller that ends, and the next.
        how: it ends: stopped or killed.

    """
    contending.kill() if how == "killed" else contending.stop()
    node, revision = run.pairs(1)[0]
    run.agents.stage(node, revision, time.monotonic())
    count = _spoil(run)
    time.sleep(1)
    contending.start()
    new = contending.now
    leads = new.leads(run.admin, PATIENCE)
    right = run.observer.until_right(run.agents.labels(), PATIENCE)
    note = f"{count} labels edited and a copy staged meanwhile; leader after {_since(new, leads) or float('nan'):.1f} s"
    run.add(Figure(f"restart ({how}) until every label is right", _since(new, right), "s", 30, note))


def reviews(run: Run, contending: Contending) -> None:
    """Pods are created."""
    sizes = run.world.sizes
    hook = webhook.registered(run.admin)
    if hook is None:
        run.add(Figure("webhook, p99", None, "ms", 50, "it isn't registered"))
        return
    with used(run, contending.now) as use:
        found = webhook.direct(hook, run.world, count=sizes.reviews, rate=sizes.review_rate)
    waking = found.waking.figure("a thread that sleeps meanwhile wakes up too late by", unit="ms")
    run.add(found.spread.figure(f"webhook at {sizes.review_rate:g} reviews/s", most=50, unit="ms"), waking)
    run.say(f"meanwhile: processor {use.cores:.2g} cores; {use.in_words()}")
    run.say(f"{found.steered} pods were changed, {found.expected} mount a claim that steers by it")
    through, bucket = webhook.through_server(run.admin, run.world, count=sizes.reviews, rate=sizes.review_rate)
    note = (
        f"the bucket's upper bound; whole requests took {through.spread.p99 * 1000:.3g} ms; {through.steered} steered"
    )
    run.add(
        Figure("webhook as the API server sees it, p99", None if bucket is None else bucket * 1000, "ms", None, note)
    )


def spread_of(sightings: Sequence[Sighting], since: Mapping[tuple[str, str], float] | None = None) -> Spread:
    """Summarise how long labels took.

    Args:
        sightings: of the labels.
        since: when the clock starts, by node and label, where that isn't when the copy was committed.

    """
    begun = [s.since if since is None else since.get((s.node, s.label), s.since) for s in sightings]
    seconds = [max(0.0, s.seen - at) for s, at in zip(sightings, begun, strict=True) if s.seen is not None]
    return Spread.of(seconds, missing=len(sightings) - len(seconds))


def _staged_at(run: Run, pair: tuple[str, str], committed: float) -> Sighting:
    node, revision = pair
    sighting = run.observer.expect(node, label_of(revision), STAGED, since=committed)
    begun = committed - run.world.sizes.warming
    run.timetable.at(begun, lambda: run.agents.stage(node, revision, committed))
    return sighting


def _spoil(run: Run) -> int:
    """Edit labels: half of them are removed, half set without reason."""
    count = run.world.sizes.wrong
    right = [(node, key) for node, labels in run.agents.labels().items() for key in labels]
    for node, key in run.chance.sample(right, count // 2):
        run.admin.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {key: None}}})
    for node, revision in run.pairs(count - count // 2):
        run.admin.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {label_of(revision): STAGED}}})
    return count


def _since(controller: Controller, moment: float | None) -> float | None:
    return None if moment is None else moment - controller.begun
