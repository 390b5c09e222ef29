"""Telling: what pods are told.

One that can't be scheduled yet: where its models are being staged, how far, how long still. One whose models are
staged on different nodes: that no node has all of them, so that some are brought to where it goes.
"""

from collections.abc import Callable
from typing import Protocol

from csi_model.cluster.events import Subject
from csi_model.cluster.facts import Pod
from csi_model.cluster.steering.choices import Choices
from csi_model.cluster.steering.demand import Waiting
from csi_model.cluster.steering.inventory import Inventory
from csi_model.cluster.steering.standing import waiting_words
from csi_model.cluster.steering.unharmed import unharmed
from csi_model.cluster.steering.words import names_text
from csi_model.core.warmth import Warmth

PERIOD = 20.0
"""Seconds between two events of one pod."""
_TURN = 1.0  # seconds between two looks at the pods that wait
_QUIET = 2.0  # seconds that a pod waits before anything is said: most are placed by then
_MOST = 200  # pods that are told in one period, those that wait longest first


class PodEvents(Protocol):
    """Writes events (:class:`csi_model.cluster.events.Events`)."""

    def say_of(self, subject: Subject, *, warning: bool, reason: str, message: str) -> None:
        """Say something of an object, some time soon, if possible; never blocks, never raises."""


class Telling:
    """For one thread.

    Args:
        inventory: what is known.
        choices: what is wanted where.
        events: tells pods.
        clock: seconds, monotonic.

    """

    def __init__(self, inventory: Inventory, choices: Choices, events: PodEvents, clock: Callable[[], float]) -> None:
        self._inventory, self._choices, self._events, self._clock = inventory, choices, events, clock
        self._next = 0.0
        self._told: dict[str, float] = {}  # by a pod's uid: when it is told the next time
        self._apart: set[str] = set()  # uids of pods that were told that their models are

    def clear(self) -> None:
        """Forget everything: somebody else tells."""
        self._told.clear()
        self._apart.clear()

    def turn(self) -> None:
        """Tell the pods whose time has come."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _TURN
        waiting = self._waiting()
        self._told = {pod.uid: self._told.get(pod.uid, now + _QUIET) for pod, _ in waiting}
        for pod, revisions in waiting:
            if self._told[pod.uid] <= now:
                self._told[pod.uid] = now + PERIOD
                with unharmed(f"pod {pod.namespace}/{pod.name}"):
                    self._tell(Waiting(pod, revisions))
        several = {pod.uid: pod for pod in self._inventory.using.pods_with_several()}
        self._apart &= several.keys()
        for uid in several.keys() - self._apart:
            self._tell_apart(several[uid])

    def _waiting(self) -> list[tuple[Pod, tuple[str, ...]]]:
        using = self._inventory.using
        found = [(pod, using.required_by(pod)) for pod in using.pods_on("")]
        strict = [(pod, revisions) for pod, revisions in found if revisions]
        return sorted(strict, key=lambda it: (it[0].created, it[0].uid))[:_MOST]

    def _tell_apart(self, pod: Pod) -> None:
        """Tell a pod, once, that its models are staged on different nodes."""
        volumes = {volume.revision: volume for volume in self._inventory.using.mounted_by(pod)}
        where = {revision: self._staged_on(revision) for revision in sorted(volumes)}
        if len(where) < 2 or not all(where.values()) or set.intersection(*where.values()):  # noqa: PLR2004 - several
            return
        self._apart.add(pod.uid)
        parts = [f"{volumes[revision].source} on {names_text(nodes)}" for revision, nodes in where.items()]
        place = pod.node or "where the pod goes"
        message = f"no node has all its models: {'; '.join(parts)}. What lacks is brought to {place} first"
        self._say(pod, "ModelsApart", message)

    def _staged_on(self, revision: str) -> set[str]:
        nodes = self._inventory.nodes
        found = ((name, nodes[name].copy(revision)) for name in self._inventory.holders(revision) if name in nodes)
        return {name for name, copy in found if copy is not None and copy.warmth is Warmth.STAGED}

    def _say(self, pod: Pod, reason: str, message: str) -> None:
        subject = Subject("Pod", pod.namespace, pod.name, pod.uid)
        self._events.say_of(subject, warning=False, reason=reason, message=message)

    def _tell(self, waiting: Waiting) -> None:
        inventory, pod = self._inventory, waiting.pod
        sources = {volume.revision: volume.source for volume in inventory.using.mounted_by(pod)}
        words = waiting_words(waiting, inventory.nodes, sources, self._choices.made)
        if words:
            self._say(pod, "WaitingForModel", words)
