"""Builds the controller's part of a driver."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from csi_model import DRIVER_NAME
from csi_model.cli.build_cluster import Cluster
from csi_model.cli.plan import Plan
from csi_model.cluster.adopting import Adopting
from csi_model.cluster.events import Events
from csi_model.rpc.controller import ControllerService
from csi_model.volumes.registry import VolumeRegistry
from csi_model.volumes.volumes import OpenSource, Volumes

if TYPE_CHECKING:
    from csi_model.cluster.api import Api


class ControllerPart:
    """The controller's service, and in a cluster the watch of its PersistentVolumes.

    Args:
        plan: what to run.
        registry: of the volumes.
        open_source: opens a volume's source.
        cluster: the way to the cluster; None without one.
        available: the store's free bytes, where the process has a store.

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
    ) -> None:
        self._plan = plan
        self._volumes = Volumes(registry, open_source, ambient_allow=plan.settings.ambient_allow)
        self.service = ControllerService(self._volumes, available=available)
        self._adopting: Adopting | None = None
        self._events: Events | None = None
        if cluster is not None:
            cluster.then(self._adopt)

    def _adopt(self, api: "Api") -> None:
        self._events = Events(api, component=f"{DRIVER_NAME}/controller")
        self._adopting = Adopting(
            api, resolve=self._volumes.resolve, allowed=self._plan.static, events=self._events
        )  # fmt: skip
        self._adopting.start()

    def close(self) -> None:
        """Let go of the calls that wait for a listing, and watch no more."""
        self._volumes.close()
        if self._adopting is not None:
            self._adopting.stop()
        if self._events is not None:
            self._events.close()
