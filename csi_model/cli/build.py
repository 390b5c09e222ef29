"""Builds a driver of its parts, by what it was told to run: who gets whom."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from csi_model.cli.build_cluster import Cluster, ClusterRegistry
from csi_model.cli.build_controller import ControllerPart
from csi_model.cli.build_node import NodePart
from csi_model.cli.cores import usable_cores
from csi_model.cli.plan import Plan
from csi_model.cluster.lookup import lookup_in
from csi_model.rpc.health import pages, probe
from csi_model.rpc.identity import IdentityService
from csi_model.rpc.metrics import Metrics
from csi_model.rpc.registration import Registration
from csi_model.rpc.server import Server, build_server
from csi_model.rpc.web import WebServer
from csi_model.sources.catalog import open_source
from csi_model.volumes.file_registry import FileRegistry

if TYPE_CHECKING:
    from csi_model.node.holding import OpenSource
    from csi_model.node.staging import Lookup
    from csi_model.sources.workers import Workers
    from csi_model.volumes.registry import VolumeRegistry


@dataclass(frozen=True, slots=True)
class Parts:
    """A driver, built and not started; what it doesn't have is None.

    Attributes:
        driver: the CSI server.
        workers: processes that read over TLS.
        cluster: the way to the Kubernetes API.
        node: the node's part.
        controller: the controller's part.
        registration: with kubelet.
        web: health and metrics.

    """

    driver: Server
    workers: "Workers | None"
    cluster: Cluster | None
    node: NodePart | None
    controller: ControllerPart | None
    registration: Registration | None
    web: WebServer | None


def build(plan: Plan) -> Parts:
    """Build a driver; nothing is left of it if that fails.

    Raises:
        InvalidArgument: the endpoint, an address, a glob or the node's name is none.
        StoreLocked: another driver owns the store or listens on the endpoint.
        StoreUnusable: the store, the registry or a socket can't be used.

    """
    cluster = Cluster() if plan.registry is None else None
    registry, lookup = _registry(plan, cluster)
    workers = _start_workers(plan)
    with ExitStack() as undo:
        if workers is not None:
            undo.callback(workers.close)
        metrics = _metrics(plan)
        source = partial(open_source, ca_bundle=plan.settings.ca_bundle, workers=workers)
        node = _node(plan, lookup, source, cluster, metrics) if plan.stages else None
        if node is not None:
            undo.callback(node.abandon)
        available = node.agent.available if node else None
        controller = (
            ControllerPart(plan, registry, source, cluster=cluster, available=available, metrics=metrics)
            if plan.controls
            else None
        )
        if controller is not None:
            undo.callback(controller.close)
        driver = build_server(
            plan.endpoint,
            identity=IdentityService(),
            controller=controller.service if controller else None,
            node=node.service if node else None,
            observe=metrics.called if metrics else None,
        )
        undo.callback(driver.stop, 0)
        registration = _registration(plan, driver)
        web = _web(plan, metrics, cluster, registration, controller)
        undo.pop_all()
    return Parts(driver, workers, cluster, node, controller, registration, web)


def _registry(plan: Plan, cluster: Cluster | None) -> "tuple[VolumeRegistry, Lookup]":
    if cluster is not None:
        objects = ClusterRegistry(cluster)
        return objects, lookup_in(objects.get)
    assert plan.registry is not None  # noqa: S101 - for mypy: that is when there is no cluster
    files = FileRegistry(plan.registry)
    return files, files.get


def _node(
    plan: Plan, lookup: "Lookup", source: "OpenSource", cluster: Cluster | None, metrics: Metrics | None
) -> NodePart:
    node = NodePart(plan, lookup, source, cluster=cluster, observe=metrics.staged if metrics else None)
    if metrics is not None:
        metrics.collect_from(node.figures)
    return node


def _registration(plan: Plan, driver: Server) -> Registration | None:
    if not plan.stages or plan.plugins_registry is None:
        return None
    return Registration(plan.plugins_registry, driver.path, partial(probe, plan.endpoint))


def _metrics(plan: Plan) -> Metrics | None:
    if plan.http is None:
        return None
    return Metrics(node=plan.stages, webhook=plan.steers and plan.webhook is not None, steering=plan.steers)


def _web(
    plan: Plan,
    metrics: Metrics | None,
    cluster: Cluster | None,
    registration: Registration | None,
    controller: ControllerPart | None,
) -> WebServer | None:
    if plan.http is None or metrics is None:
        return None
    ready = [] if cluster is None else [cluster.problem]
    if controller is not None and controller.webhook is not None:
        ready.append(controller.webhook.problem)
    if registration is not None:
        ready.append(registration.unready)
        metrics.collect_from(registration.figures)
    return WebServer(plan.http, pages(plan.endpoint, metrics, ready=ready))


def _start_workers(plan: Plan) -> "Workers | None":
    """Start the processes that read over TLS, where there are to be any: while no thread of gRPC's runs."""
    transfer = plan.settings.transfer
    count = transfer.tls_processes_on(usable_cores()) if plan.stages else 0
    if not count:
        return None
    from csi_model.sources.workers import Workers  # noqa: PLC0415 - small nodes need none of it

    return Workers(count, -(-transfer.streams_most // count))
