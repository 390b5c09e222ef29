"""The way to the Kubernetes API, found in the background, and what stands in for it until then.

The official client costs half a second and more to import, and the driver answers its first Probe before that. Whoever
needs the API earlier waits a moment, and is told to come again.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from csi_model.cluster.api import Api, connect
from csi_model.cluster.errors import ApiUnavailable
from csi_model.cluster.events import Events
from csi_model.cluster.model_volumes import ModelVolumes
from csi_model.core.placement import Wants
from csi_model.core.volume import Claim, VolumeRecord
from csi_model.errors import CsiModelError

log = logging.getLogger(__name__)
_PATIENCE = 5.0  # seconds that a call waits for the first connection
_PAUSE = 5.0  # seconds between two tries to find the way


class Cluster:
    """Finds the way to the API; once found, it stays.

    Args:
        find: connects; raises ApiUnavailable.
        patience: seconds that :meth:`api` waits.

    """

    def __init__(self, find: Callable[[], Api] = connect, *, patience: float = _PATIENCE) -> None:
        self._find, self._patience = find, patience
        self._changed = threading.Condition()
        self._api: Api | None = None
        self._closed = False
        self._problem = "the driver is still looking for the Kubernetes API"
        self._actions: list[Callable[[Api], None]] = []

    def then(self, action: Callable[[Api], None]) -> None:
        """Have something done once the way is found; call it before :meth:`run`."""
        self._actions.append(action)

    def run(self) -> None:
        """Look for the way until it is found or the end has come."""
        while (api := self._try()) is None:
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, _PAUSE):
                    return
        with self._changed:
            if self._closed:
                return
            for action in self._actions:
                action(api)
            self._api = api
            self._changed.notify_all()

    def _try(self) -> Api | None:
        try:
            return self._find()
        except CsiModelError as error:
            log.warning("%s", error)
            with self._changed:
                self._problem = str(error)
            return None

    def api(self) -> Api:
        """Return the API; waits a moment for it.

        Raises:
            ApiUnavailable: it isn't found yet.

        """
        with self._changed:
            self._changed.wait_for(lambda: self._api is not None or self._closed, self._patience)
            if self._api is None:
                raise ApiUnavailable(self._problem)
            return self._api

    def problem(self) -> str | None:
        """Return why there is no way to the API; None if there is one, whether or not it answers."""
        with self._changed:
            return None if self._api is not None else self._problem

    def close(self) -> None:
        """Look no further."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class ClusterRegistry:
    """:class:`csi_model.volumes.registry.VolumeRegistry`: the ModelVolumes of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def _volumes(self) -> ModelVolumes:
        return ModelVolumes(self._cluster.api())

    def get(self, volume_id: str) -> VolumeRecord | None:
        return self._volumes().get(volume_id)

    def named(self, name: str) -> VolumeRecord | None:
        """Return the record of the ModelVolume of a name; None if there is none. Raises StoreUnusable."""
        return self._volumes().named(name)

    def put(self, record: VolumeRecord) -> None:
        self._volumes().put(record)

    def modify(self, volume_id: str, wants: Wants) -> None:
        self._volumes().modify(volume_id, wants)

    def delete(self, volume_id: str) -> None:
        self._volumes().delete(volume_id)

    def ids(self, *, after: str = "", limit: int | None = None) -> Sequence[str]:
        return self._volumes().ids(after=after, limit=limit)


class ClusterEvents:
    """:class:`csi_model.node.telling.ClaimEvents`: says nothing until the way is found.

    Args:
        cluster: where to say it.
        component: who says it.
        host: the node.

    """

    def __init__(self, cluster: Cluster, *, component: str, host: str) -> None:
        self._component, self._host = component, host
        self._events: Events | None = None
        cluster.then(self._begin)

    def _begin(self, api: Api) -> None:
        self._events = Events(api, component=self._component, host=self._host)

    def say(self, claim: Claim, *, warning: bool, reason: str, message: str) -> None:
        events = self._events
        if events is not None:
            events.say(claim, warning=warning, reason=reason, message=message)

    def close(self) -> None:
        """Say no more."""
        if self._events is not None:
            self._events.close()
