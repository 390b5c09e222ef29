"""Builds the controller's part of a driver."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from csi_model import DRIVER_NAME
from csi_model.cli.build_cluster import Cluster
from csi_model.cli.build_webhook import WebhookPart
from csi_model.cli.plan import Plan
from csi_model.cluster.adopting import Adopting
from csi_model.cluster.capacity import capacity_in
from csi_model.cluster.claims import annotations_in
from csi_model.cluster.events import Events
from csi_model.cluster.steering.steering import Steering
from csi_model.rpc import metrics as names
from csi_model.rpc.controller import ControllerService
from csi_model.rpc.metrics import Metrics
from csi_model.volumes.registry import VolumeRegistry
from csi_model.volumes.volumes import OpenSource, Volumes

if TYPE_CHECKING:
    from csi_model.cluster.api import Api


class ControllerPart:
    """The controller's service; in a cluster the watch of its PersistentVolumes, the steering, and the webhook.

    Args:
        plan: what to run.
        registry: of the volumes.
        open_source: opens a volume's source.
        cluster: the way to the cluster; None without one.
        available: the store's free bytes, where the process has a store; in a cluster the ModelNodes tell.
        metrics: counts.

    Attributes:
        service: answers the CSI calls.
        webhook: the admission webhook; None if there is none.

    Raises:
        InvalidArgument: a glob is malformed.

    """

    def __init__(
        self,
        plan: Plan,
        registry: VolumeRegistry,
        open_source: OpenSource,
        *,
        cluster: Cluster | None = None,
        available: Callable[[], int] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._plan = plan
        self._volumes = Volumes(
            registry,
            open_source,
            ambient_allow=plan.settings.ambient_allow,
            annotations=None if cluster is None else annotations_in(cluster.api),
        )
        self.service = ControllerService(self._volumes, capacity=_capacity(cluster, available))
        self._metrics = metrics
        self._adopting: Adopting | None = None
        self._events: Events | None = None
        self._steering: Steering | None = None
        self.webhook = WebhookPart(plan, metrics=metrics) if plan.steers and plan.webhook is not None else None
        if cluster is not None:
            cluster.then(self._adopt)
            cluster.then(self._steer)

    def _adopt(self, api: "Api") -> None:
        self._events = Events(api, component=f"{DRIVER_NAME}/controller")
        self._adopting = Adopting(
            api, resolve=self._volumes.resolve, allowed=self._plan.static, events=self._events
        )  # fmt: skip
        self._adopting.start()

    def _steer(self, api: "Api") -> None:
        assert self._events is not None  # noqa: S101 - for mypy: _adopt comes first
        metrics = self._metrics
        self._steering = Steering(
            api, self._events, self._plan.settings.steering, decided=metrics.decided if metrics else lambda _: None
        )
        if self.webhook is not None:
            self._steering.volumes.add(self.webhook.volumes)
            self.webhook.begin(api)
        if metrics is not None:
            metrics.collect_from(self._figures)
        self._steering.start()

    def _figures(self) -> Mapping[str, float | Mapping[str, float]]:
        if self._steering is None:
            return {}
        figures = self._steering.figures()
        return {
            names.LEADER.name: figures.leads,
            names.WANTED.name: figures.wanted,
            names.STAGED_COPIES.name: figures.staged,
            names.LACKING.name: figures.lacking,
            names.WRITES.name: figures.written,
            names.WRITES_WAITING.name: figures.waiting,
        }

    def close(self) -> None:
        """Let go of the calls that wait for a listing, let another controller lead, and watch no more."""
        self._volumes.close()
        if self._steering is not None:
            self._steering.stop()
        if self.webhook is not None:
            self.webhook.close()
        if self._adopting is not None:
            self._adopting.stop()
        if self._events is not None:
            self._events.close()


def _capacity(cluster: Cluster | None, available: Callable[[], int] | None) -> Callable[[str], int] | None:
    if cluster is not None:
        return capacity_in(cluster.api)
    return None if available is None else lambda _: available()
