"""Builds the admission webhook of a controller."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from csi_model.cli.plan import Plan
from csi_model.cluster.watching import Listener, Watch
from csi_model.cluster.webhook.index import CLAIMS, CLASSES, KnownClaim, trim_claim, trim_class
from csi_model.cluster.webhook.known import Known
from csi_model.cluster.webhook.reviewing import Reviewer
from csi_model.cluster.webhook.serving import WebhookServer
from csi_model.rpc.metrics import CERTIFICATE, Metrics
from csi_model.rpc.web import listen

if TYPE_CHECKING:
    from csi_model.cluster.api import Api
    from csi_model.cluster.trimming import KnownVolume
    from csi_model.cluster.webhook.renewing import Renewing


class WebhookPart:
    """The webhook. Listens from the beginning; answers once :meth:`begin` was called and there is a certificate.

    Every replica of the controller has one that works, whoever leads, so each has to watch the ModelVolumes.

    Args:
        plan: what to run; it has an address for the webhook.
        metrics: counts.

    Attributes:
        volumes: has to be told of the ModelVolumes.

    Raises:
        InvalidArgument: the address is none.
        StoreUnusable: nobody can listen there.

    """

    def __init__(self, plan: Plan, *, metrics: Metrics | None = None) -> None:
        self._plan, self._metrics = plan, metrics
        self._known = Known()
        self.volumes: Listener[KnownVolume] = self._known.volumes
        self._listener = listen(plan.webhook or ":0", "webhook")
        self._server: WebhookServer | None = None
        self._renewing: Renewing | None = None
        self._watches: list[Watch[KnownClaim] | Watch[bool]] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def begin(self, api: "Api") -> None:
        """Watch, get a certificate, and answer."""
        # A tenth of a second for x509, in controllers only.
        from csi_model.cluster.webhook.renewing import Renewing  # noqa: PLC0415

        self._renewing = Renewing(api, self._plan.settings.steering.namespace)
        observe = self._metrics.reviewed if self._metrics is not None else lambda _outcome, _seconds: None
        reviewer = Reviewer(self._known, spread=self._plan.webhook_spread, observe=observe)
        self._server = WebhookServer(self._listener, reviewer.review, self._renewing.context)
        self._watches = [
            Watch(api, CLAIMS, trim_claim, self._known.claims),
            Watch(api, CLASSES, trim_class, self._known.classes),
        ]
        for part in (*self._watches, self._renewing, self._server):
            part.start()
        if self._metrics is not None:
            self._metrics.collect_from(self._figures)

    def problem(self) -> str | None:
        """Return why it can't answer yet; None once it can. What goes wrong later is no reason to be unready."""
        if self._renewing is None or self._renewing.context() is None:
            return "the webhook has no certificate yet"
        return None if self._known.synced else "the webhook hasn't seen all claims yet"

    def close(self) -> None:
        """Give the answers that are being made, and end."""
        if self._server is not None:
            self._server.close()
        self._listener.close()
        if self._renewing is not None:
            self._renewing.stop()
        for watch in self._watches:
            watch.stop()

    def _figures(self) -> Mapping[str, float]:
        left = self._renewing.seconds_left() if self._renewing is not None else None
        return {} if left is None else {CERTIFICATE.name: left}
