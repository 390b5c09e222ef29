"""What ``serve`` was told to run."""

from dataclasses import dataclass
from pathlib import Path

from csi_model.core.allow import Allowed
from csi_model.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    Attributes:
        mode: ``all``, ``controller`` or ``node``.
        endpoint: the Unix socket of the CSI services.
        node_id: this node's name.
        registry: directory of the volume records; None for ModelVolumes in the Kubernetes API.
        settings: every other knob.
        log_level: a level's name.
        log_format: ``human`` or ``json``.
        http: address and port of health and metrics; None for none.
        plugins_registry: kubelet's directory in which the node registers; None for nowhere.
        static: what static PersistentVolumes may name.
        inline: what pods may name in volumes of their own.
        webhook: address and port of the admission webhook; None for none.
        webhook_spread: whether it gives pods a neutral topology spread constraint.
        heartbeat: seconds at most between two signs of life of the node's agent.
        drop_capabilities: whether to give up, before anything else, every capability that a node doesn't need.

    """

    mode: str
    endpoint: str
    node_id: str
    registry: Path | None
    settings: Settings
    log_level: str = "info"
    log_format: str = "human"
    http: str | None = None
    plugins_registry: Path | None = None
    static: Allowed = Allowed()  # noqa: RUF009 - frozen
    inline: Allowed = Allowed()  # noqa: RUF009 - frozen
    webhook: str | None = None
    webhook_spread: bool = True
    heartbeat: float = 30.0
    drop_capabilities: bool = False

    @property
    def controls(self) -> bool:
        """Whether the controller service runs."""
        return self.mode != "node"

    @property
    def steers(self) -> bool:
        """Whether nodes are steered and the webhook may run: a controller in a cluster."""
        return self.controls and self.registry is None

    @property
    def stages(self) -> bool:
        """Whether the node's agent runs."""
        return self.mode != "controller"

    def summary(self) -> dict[str, object]:
        """Tell the log what runs."""
        registry = self.registry or "Kubernetes"
        summary: dict[str, object] = {"mode": self.mode, "endpoint": self.endpoint, "registry": registry}
        if self.stages:
            summary |= {"node": self.node_id, "store": self.settings.store.root}
        return summary
