"""The driver's metrics: one table of them, and what counts and collects.

``python -m csi_model.rpc.metrics > docs/metrics.md`` renders the table. Few label values by design: a method, a code,
an error's type, an outcome; never a volume, a claim or a model, of which a cluster has thousands.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from csi_model import __version__
from csi_model.cluster.webhook import reviewing
from csi_model.node.telling import OUTCOMES
from csi_model.rpc import codes
from csi_model.rpc.interceptors import BUG

CONTENT_TYPE = CONTENT_TYPE_LATEST
Figures = Callable[[], Mapping[str, float | Mapping[str, float]]]
"""Reads figures when they are asked for, in milliseconds: for each name of the table that it knows a value, or values
by the value of its label."""


class Kind(StrEnum):
    """Prometheus' types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the table.

    Attributes:
        name: as Prometheus shows it.
        kind: its type.
        labels: the names of its labels.
        where: which processes have it.
        help: what it counts or tells, with its unit.
        buckets: of a histogram.

    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    where: str
    help: str
    buckets: tuple[float, ...] = ()


_NODE, _ALL, _WEBHOOK = "node", "all", "controller"
STAGE = Metric(
    "csi_model_stage_seconds", Kind.HISTOGRAM, ("outcome",), _NODE,
    f"Seconds that a staging took, by how it ended: {', '.join(OUTCOMES)}. A warm-up counts once, however many "
    "volumes want it; `already` is a call that found the copy here.",
    (0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200),
)  # fmt: skip
RPC = Metric(
    "csi_model_rpc_seconds", Kind.HISTOGRAM, ("method", "code"), _ALL,
    "Seconds that a CSI call took, by RPC and gRPC code.",
    (0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 110),
)  # fmt: skip
ERRORS = Metric(
    "csi_model_errors_total", Kind.COUNTER, ("type",), _ALL,
    f"CSI calls that were answered with an error, by its type in errors.md; `{BUG}` is any other.",
)  # fmt: skip
BUILD = Metric("csi_model_build_info", Kind.GAUGE, ("version",), _ALL, "Always 1; the label tells the version.")
FETCHED = Metric(
    "csi_model_fetched_bytes_total", Kind.COUNTER, (), _NODE, "Bytes received from sources by this process."
)
SHARED = Metric(
    "csi_model_shared_bytes_total", Kind.COUNTER, (), _NODE,
    "Bytes that finished warm-ups needn't fetch, because they were on this disk already.",
)  # fmt: skip
EVICTED = Metric("csi_model_evicted_bytes_total", Kind.COUNTER, (), _NODE, "Bytes of disk that eviction has freed.")
CAPACITY = Metric(
    "csi_model_store_capacity_bytes", Kind.GAUGE, (), _NODE, "Bytes that the store's file system can hold in all."
)
USED = Metric(
    "csi_model_store_used_bytes", Kind.GAUGE, (), _NODE, "Bytes that are used on the store's file system, by anybody."
)
RESERVED = Metric(
    "csi_model_store_reserved_bytes", Kind.GAUGE, (), _NODE,
    "Bytes that are promised to running warm-ups and not written yet.",
)  # fmt: skip
WARMUPS = Metric("csi_model_warmups_running", Kind.GAUGE, (), _NODE, "Warm-ups that run now.")
ORDERED = Metric(
    "csi_model_wanted_revisions", Kind.GAUGE, (), _NODE, "Revisions that the controller wants on this node."
)
FAILING = Metric(
    "csi_model_failing_revisions", Kind.GAUGE, (), _NODE,
    "Such revisions that couldn't be brought here so far; `kubectl get modelnode -o yaml` tells why.",
)  # fmt: skip
REGISTERED = Metric(
    "csi_model_registered", Kind.GAUGE, (), _NODE, "1 if kubelet said that it has registered the driver, else 0."
)
ADMISSION = Metric(
    "csi_model_admission_seconds", Kind.HISTOGRAM, ("outcome",), _WEBHOOK,
    "Seconds that the webhook took for a pod, by how it ended: `steered` (it prefers nodes now), `nothing` (there was "
    "nothing to add), `late` (a model wasn't known in time), `failed` (a bug; the pod was let through as it came).",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3),
)  # fmt: skip
CERTIFICATE = Metric(
    "csi_model_webhook_certificate_seconds", Kind.GAUGE, (), _WEBHOOK,
    "Seconds for which the webhook's certificate is still valid; it is renewed when a third of a year is left.",
)  # fmt: skip
LEADER = Metric(
    "csi_model_leader", Kind.GAUGE, (), _WEBHOOK, "1 if this controller is the one that labels nodes, else 0."
)
WRITES = Metric(
    "csi_model_api_writes_total", Kind.COUNTER, ("kind",), _WEBHOOK,
    "Changes that the leader wrote to the Kubernetes API, by kind: `labels` and `taint` of Nodes, `orders` of "
    "ModelNodes, `status` of ModelVolumes, `annotation` of claims.",
)  # fmt: skip
WRITES_WAITING = Metric(
    "csi_model_api_writes_waiting", Kind.GAUGE, (), _WEBHOOK, "Such changes that are decided and not written yet."
)
DECISION = Metric(
    "csi_model_decision_seconds", Kind.HISTOGRAM, (), _WEBHOOK,
    "Seconds that the leader took to decide what news call for.",
    (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)  # fmt: skip
WANTED = Metric("csi_model_copies_wanted", Kind.GAUGE, (), _WEBHOOK, "Copies that nodes are told to have.")
STAGED_COPIES = Metric("csi_model_copies_staged", Kind.GAUGE, (), _WEBHOOK, "Copies of those that are staged.")
LACKING = Metric(
    "csi_model_models_lacking", Kind.GAUGE, (), _WEBHOOK,
    "Models that shall be on more nodes than can be had; their claims' events say why.",
)  # fmt: skip
TABLE = (
    STAGE, RPC, ERRORS, FETCHED, SHARED, EVICTED, CAPACITY, USED, RESERVED, WARMUPS, ORDERED, FAILING, REGISTERED,
    ADMISSION, CERTIFICATE,
    LEADER, WANTED, STAGED_COPIES, LACKING, DECISION, WRITES, WRITES_WAITING, BUILD,
)  # fmt: skip
_BY_NAME = {metric.name: metric for metric in TABLE}


class Metrics:
    """One process's metrics. Safe to use from many threads.

    Args:
        node: whether there is a node's agent in it.
        webhook: whether there is an admission webhook in it.
        steering: whether there is a controller in it that may lead.

    """

    def __init__(self, *, node: bool, webhook: bool = False, steering: bool = False) -> None:
        # A time beside each series, which nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has it untyped
        self._registry = CollectorRegistry()
        self._collected = _Collected()
        self._rpc = self._histogram(RPC)
        self._errors = Counter(ERRORS.name, ERRORS.help, ERRORS.labels, registry=self._registry)
        for error in (*(row.error.__name__ for row in codes.TABLE), BUG):
            self._errors.labels(error)  # from 0 on, so that the first one is an increase
        self._stage = self._histogram(STAGE) if node else None
        if self._stage is not None:
            for outcome in OUTCOMES:
                self._stage.labels(outcome)
        self._admission = self._histogram(ADMISSION) if webhook else None
        if self._admission is not None:
            for outcome in reviewing.OUTCOMES:
                self._admission.labels(outcome)
        self._decision = self._histogram(DECISION) if steering else None
        self._registry.register(self._collected)
        ProcessCollector(registry=self._registry)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=self._registry)

    def called(self, method: str, code: str, seconds: float, error: str) -> None:
        """Count a CSI call.

        Args:
            method: the RPC's name.
            code: the gRPC code's name.
            seconds: what it took.
            error: its type's name; "" for none.

        """
        self._rpc.labels(method, code).observe(seconds)
        if error:
            self._errors.labels(error).inc()

    def staged(self, outcome: str, seconds: float) -> None:
        """Count how a staging ended: one of :data:`csi_model.node.telling.OUTCOMES`."""
        if self._stage is not None:
            self._stage.labels(outcome).observe(seconds)

    def reviewed(self, outcome: str, seconds: float) -> None:
        """Count how a pod's review ended: one of :data:`csi_model.cluster.webhook.reviewing.OUTCOMES`."""
        if self._admission is not None:
            self._admission.labels(outcome).observe(seconds)

    def decided(self, seconds: float) -> None:
        """Count a turn of deciding."""
        if self._decision is not None:
            self._decision.observe(seconds)

    def collect_from(self, figures: Figures) -> None:
        """Ask ``figures`` at each scrape."""
        self._collected.sources.append(figures)

    def page(self) -> bytes:
        """Return what Prometheus reads, in the format that CONTENT_TYPE names.

        Raises:
            OSError, CsiModelError: a figure can't be read.

        """
        return generate_latest(self._registry)


class _Collected:
    """Prometheus' collector of the figures that are read when they are asked for."""

    def __init__(self) -> None:
        self.sources: list[Figures] = []

    def describe(self) -> Iterator[Any]:
        """Name nothing ahead: registering mustn't ask anybody."""
        return iter(())

    def collect(self) -> Iterator[Any]:
        yield _build()
        for source in list(self.sources):
            for name, value in source().items():
                metric = _BY_NAME[name]
                kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
                family = kind(name, metric.help, labels=metric.labels)
                for label, each in value.items() if isinstance(value, Mapping) else [(None, value)]:
                    family.add_metric([] if label is None else [label], each)
                yield family


def _build() -> Any:
    family = GaugeMetricFamily(BUILD.name, BUILD.help, labels=BUILD.labels)
    family.add_metric([__version__], 1)
    return family


_HEAD = """\
# Metrics

<!-- Rendered from csi_model/rpc/metrics.py: `python -m csi_model.rpc.metrics > docs/metrics.md` -->

`csi-model serve --http :9808` answers `/metrics` in Prometheus' text format, on controller and node agent alike. No
label names a volume, a claim or a model: a cluster has thousands of them. What happens to one claim is told in its
events, and what a node holds by `csi-model status`.

| Name | Type | Labels | Where | What it tells |
|---|---|---|---|---|
"""
_TAIL = """
Besides, what every process tells: `process_resident_memory_bytes`, `process_cpu_seconds_total`, `process_open_fds`,
`process_start_time_seconds` and their like.

Counters begin at 0 when the process starts. The figures of the store are read when they are asked for.
"""


def render() -> str:
    """Render the table for docs/metrics.md."""
    return _HEAD + "".join(_line(metric) for metric in TABLE) + _TAIL


def _line(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.where} | {metric.help} |\n"


if __name__ == "__main__":
    sys.stdout.write(render())
