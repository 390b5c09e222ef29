"""Steering: the watches, the leader and the loop of one controller, put together.

Every controller watches, so that a new leader knows everything already; the leader alone writes. Nodes are watched
whole, not as PartialObjectMetadata: whether a node is cordoned or tainted stands in its spec.
"""

from collections.abc import Callable
from typing import Any

from csi_model.cluster import model_node, model_volume
from csi_model.cluster.api import Api
from csi_model.cluster.events import Events
from csi_model.cluster.leader import Leader
from csi_model.cluster.steering.figures import Figures
from csi_model.cluster.steering.inbox import Inbox, Kind
from csi_model.cluster.steering.loop import Loop
from csi_model.cluster.steering.pods import QUERY, trim_pod
from csi_model.cluster.tee import Tee
from csi_model.cluster.trimming import KnownVolume, trim_node, trim_volume
from csi_model.cluster.watching import Watch
from csi_model.settings import SteeringSettings

_LARGE, _MIDDLING = 40, 100  # objects in one answer: of half a megabyte at most, and of tens of kilobytes


class Steering:
    """One controller's part in it.

    Args:
        api: the API.
        events: tells people.
        settings: how long, and how many.
        decided: is told how many seconds each turn of deciding took.

    Attributes:
        volumes: hears of ModelVolumes; add listeners before the start.

    """

    def __init__(
        self, api: Api, events: Events, settings: SteeringSettings, *, decided: Callable[[float], None] = lambda _: None
    ) -> None:
        inbox = Inbox()
        self._leader = Leader(
            api, namespace=settings.namespace, identity=settings.identity, began=inbox.wake, ended=inbox.wake
        )  # fmt: skip
        self._loop = Loop(
            inbox, api, events, self._leader, settings, decided=decided, answered=lambda: self._leader.answered
        )  # fmt: skip
        self.volumes: Tee[KnownVolume] = Tee(inbox.listener(Kind.VOLUMES))
        self._watches: tuple[Watch[Any], ...] = (
            Watch(api, model_volume.PATH, trim_volume, self.volumes, page=_LARGE),
            Watch(api, model_node.PATH, model_node.trim, inbox.listener(Kind.MODEL_NODES), page=_MIDDLING),
            Watch(api, "/api/v1/nodes", trim_node, inbox.listener(Kind.NODES), page=_MIDDLING),
            Watch(api, "/api/v1/pods", trim_pod, inbox.listener(Kind.PODS), query=QUERY),
        )

    @property
    def leading(self) -> bool:
        """Whether this controller writes."""
        return self._leader.leading

    @property
    def synced(self) -> bool:
        """Whether all that there is has been listed."""
        return all(watch.synced.is_set() for watch in self._watches)

    def figures(self) -> Figures:
        """Return what /metrics shows."""
        return self._loop.figures()

    def start(self) -> None:
        """Begin."""
        for watch in self._watches:
            watch.start()
        self._loop.start()
        self._leader.start()

    def stop(self, timeout: float = 1.0) -> None:
        """End: write nothing more, then let another one lead.

        Args:
            timeout: seconds to wait for each part.

        """
        self._loop.stop(timeout)
        self._leader.stop(timeout)
        for watch in self._watches:
            watch.stop(timeout)
