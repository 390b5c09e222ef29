"""Leader: of several controllers one at a time writes what the others only watch.

A Lease object names the leader. It renews the Lease every two seconds; a contender that has seen no renewal for 15
seconds takes it over. A leader that couldn't renew for 10 seconds stops by itself, five seconds before anybody else
may begin. Each side measures with its own monotonic clock from what it did or saw: the times in the object are for
people, and no clocks of two machines are ever compared.
"""

import logging
import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from csi_model.cluster.api import Api
from csi_model.cluster.errors import ApiConflict
from csi_model.errors import StoreUnusable

log = logging.getLogger(__name__)
Json = dict[str, Any]
LEASE = "csi-model-controller"
_SOON = 0.1  # seconds until the next try after a conflict
_SPREAD = 0.2  # of the pause between two tries, so that contenders don't march in step


@dataclass(frozen=True, slots=True)
class Timing:
    """Of a Lease, in seconds; the defaults are those of Kubernetes' own controllers.

    Attributes:
        lasts: without a renewal, until others may take over.
        deadline: without a renewal, until the leader stops by itself.
        retry: between two tries.

    """

    lasts: float = 15.0
    deadline: float = 10.0
    retry: float = 2.0


class Leader:
    """One contender. Safe to use from many threads.

    Args:
        api: the API.
        namespace: where the Lease is.
        identity: this contender's name, for people.
        name: of the Lease.
        began: called when leading begins, from the contender's thread.
        ended: called when it ends, from that thread or from :meth:`stop`'s caller.
        timing: how long what takes.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        api: Api,
        *,
        namespace: str,
        identity: str,
        name: str = LEASE,
        began: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
        timing: Timing = Timing(),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._api = api.within(timing.deadline / 2)
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name, self._timing, self._clock = name, timing, clock
        # A process that is started anew mustn't take the Lease of its forerunner for its own.
        self.identity = f"{identity}_{uuid.uuid4().hex[:12]}"
        self._began, self._ended = began, ended
        self._held = False
        self._renewed = 0.0
        self._answered = clock()
        self._lease: Json | None = None  # as it was when we wrote it; None if it has to be read
        self._theirs: Any = None  # what the Lease of somebody else said last, and since when
        self._theirs_since = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)

    @property
    def leading(self) -> bool:
        """Whether this contender leads now; it asks the clock, so it is right even while the API hangs."""
        return self._held and self._clock() < self._renewed + self._timing.deadline

    @property
    def answered(self) -> bool:
        """Whether the API has answered lately; if not, nobody can be heard by it either."""
        return self._clock() < self._answered + self._timing.deadline

    def start(self) -> None:
        """Begin to contend."""
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Contend no more, and let go of the Lease, so that another one needn't wait.

        Args:
            timeout: seconds to wait for the thread; the Lease runs out by itself if that takes longer.

        """
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        if not self._thread.is_alive() and self._held:
            self._lose("it ends")
            self._release()

    def step(self) -> float:
        """Try once to become or to stay the leader; return the seconds until the next try."""
        asked, pause = self._clock(), self._timing.retry
        held: bool | None = None
        try:
            held = self._try()
            self._answered = self._clock()
        except ApiConflict:  # somebody was faster, or touched it: what it says now is read next time
            self._lease, self._answered = None, self._clock()
            pause = _SOON
        except StoreUnusable as error:
            log.warning("the Lease %s can't be renewed or taken: %s", self._name, error)
            self._lease = None
        if self._held and not self.leading:
            self._lose("it couldn't be renewed in time")
        if held and self._clock() < asked + self._timing.deadline:
            self._renewed = asked
            self._win()
        elif held is False and self._held:
            self._lose("the Lease is another one's now")
        return pause * random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311 - spreads load

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._stopped.wait(self.step())

    def _win(self) -> None:
        if not self._held:
            self._held = True
            log.info("this controller leads now: %s", self.identity)
            self._began()

    def _lose(self, why: str) -> None:
        self._held, self._lease = False, None
        log.info("this controller doesn't lead any more: %s", why)
        self._ended()

    def _try(self) -> bool:
        """Renew or take the Lease; tell whether it is ours."""
        lease = self._lease or self._api.get(f"{self._collection}/{self._name}")
        if lease is None:
            spec = self._spec(taken=True, transitions=0)
            self._lease = self._api.create(self._collection, _lease(self._name, spec))
            return True
        spec = _spec_of(lease)
        holder, transitions = spec.get("holderIdentity") or "", spec.get("leaseTransitions")
        ours = holder == self.identity
        if not ours and holder and self._is_fresh(spec):
            return False
        count = transitions if isinstance(transitions, int) else 0
        self._lease = self._patch(lease, self._spec(taken=not ours, transitions=count if ours else count + 1))
        return True

    def _is_fresh(self, spec: Json) -> bool:
        """Tell whether somebody else may still lead, by how long ago we saw him renew."""
        if spec != self._theirs:
            self._theirs, self._theirs_since = spec, self._clock()
        return self._clock() < self._theirs_since + self._timing.lasts

    def _release(self) -> None:
        try:
            lease = self._api.get(f"{self._collection}/{self._name}")
            if lease is not None and _spec_of(lease).get("holderIdentity") == self.identity:
                self._patch(lease, {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()})
        except StoreUnusable as error:
            log.info("the Lease %s isn't let go, it runs out by itself: %s", self._name, error)

    def _patch(self, lease: Json, spec: Json) -> Json:
        version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
        return self._api.merge_patch(f"{self._collection}/{self._name}", {"metadata": version, "spec": spec})

    def _spec(self, *, taken: bool, transitions: int) -> Json:
        now = _now()
        spec = {"holderIdentity": self.identity, "renewTime": now, "leaseDurationSeconds": int(self._timing.lasts) or 1}
        return {**spec, "acquireTime": now, "leaseTransitions": transitions} if taken else spec


def _lease(name: str, spec: Json) -> Json:
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}


def _spec_of(lease: Json) -> Json:
    spec = lease.get("spec")
    return spec if isinstance(spec, dict) else {}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
