"""Builds the node's part of a driver."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from csi_model import DRIVER_NAME, __version__
from csi_model.cli.build_cluster import Cluster, ClusterEvents, ClusterRegistry
from csi_model.cli.plan import Plan
from csi_model.cluster.reporter import Reporter
from csi_model.node.agent import NodeAgent, open_store
from csi_model.node.holding import OpenSource
from csi_model.node.keeper import Keeper
from csi_model.node.linux_mounts import LinuxMounts
from csi_model.node.staging import Lookup
from csi_model.node.telling import Observe
from csi_model.rpc import metrics
from csi_model.rpc.admin import build_admin_server
from csi_model.rpc.node import NodeService

if TYPE_CHECKING:
    from csi_model.cluster.api import Api


class NodePart:
    """The node's agent with its service, and the socket on which ``csi-model status`` asks it.

    Args:
        plan: what to run.
        lookup: the registry's record of a volume.
        open_source: opens a volume's source.
        cluster: the way to the cluster; None without one.
        observe: counts how stagings end.

    Raises:
        InvalidArgument: the node's name is none.
        StoreLocked: another driver owns the store.
        StoreUnusable: the store can't be used.

    """

    def __init__(
        self,
        plan: Plan,
        lookup: Lookup,
        open_source: OpenSource,
        *,
        cluster: Cluster | None = None,
        observe: Observe | None = None,
    ) -> None:
        mounts = LinuxMounts()
        store = open_store(plan.settings.store, mounts, awaits_orders=cluster is not None)
        try:
            self._events = (
                ClusterEvents(cluster, component=f"{DRIVER_NAME}/node", host=plan.node_id) if cluster else None
            )
            self.agent = NodeAgent(
                store, mounts, lookup=lookup, open_source=open_source, settings=plan.settings, node=plan.node_id,
                claim_events=self._events, inline=plan.inline, observe=observe,
                named=ClusterRegistry(cluster).named if cluster else lambda _: None,
            )  # fmt: skip
            self.service = NodeService(self.agent, node_id=plan.node_id)
            keeper = Keeper(store, mounts, self.agent.warmer, self.agent.read_ahead)
            self.admin = build_admin_server(store.layout.admin_socket, keeper)
        except BaseException:
            store.close()
            raise
        self._plan = plan
        self._reporter: Reporter | None = None
        if cluster is not None:
            cluster.then(self._report)

    def _report(self, api: "Api") -> None:
        """Begin to tell the cluster of this node; the way to it is found."""
        self._reporter = Reporter(
            api, self._plan.node_id, report=self.agent.report, obey=self.agent.obey, heartbeat=self._plan.heartbeat,
            version=__version__,
        )  # fmt: skip
        self.agent.store.changed.listen(self._reporter.look)
        self._reporter.start()

    def figures(self) -> Mapping[str, float]:
        """Return what /metrics shows of the store and the warm-ups; a statvfs and a few locks."""
        room = self.agent.store.space.room()
        warmer = self.agent.warmer
        return {
            metrics.CAPACITY.name: room.total,
            metrics.USED.name: room.used,
            metrics.RESERVED.name: room.reserved,
            metrics.WARMUPS.name: len(warmer.all()),
            metrics.FETCHED.name: warmer.fetched(),
            metrics.SHARED.name: warmer.shared(),
            metrics.EVICTED.name: self.agent.store.blobs.evicted_bytes,
            metrics.ORDERED.name: self.agent.ahead.wanted(),
            metrics.FAILING.name: len(self.agent.ahead.failures.all()),
        }

    def start(self) -> None:
        """Begin to answer administrators, and to keep house."""
        self.admin.start()
        self.agent.start()

    def abandon(self) -> None:
        """Undo the building of what was never started."""
        self.admin.stop(0)
        self.agent.store.close()

    def wake(self) -> None:
        """Let go of the calls that wait for a warm-up: they answer ABORTED."""
        self.agent.warmer.close()

    def close(self) -> None:
        """Tell the cluster that this ends, and let go of the store."""
        if self._reporter is not None:
            self._reporter.close()
        self.agent.close()
        if self._events is not None:
            self._events.close()
