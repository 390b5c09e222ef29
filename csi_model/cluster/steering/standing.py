"""Standing: how far a volume is, for everybody who looks: its status, the note on its claim, the words to its pods."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from csi_model.cluster.facts import Node, Volume
from csi_model.cluster.steering.demand import Waiting
from csi_model.cluster.steering.fitting import usable
from csi_model.cluster.steering.lacks import nodes_text
from csi_model.cluster.steering.ranking import Supposed, best_for, staged
from csi_model.cluster.steering.wanting import Choice
from csi_model.core.copies import Copy
from csi_model.core.units import duration_text, rate_text
from csi_model.core.warmth import Progress, Warmth

Json = dict[str, Any]
_NAMED = 10  # nodes in a status
_ERROR_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a volume is, at one instant; made by :func:`standing`.

    Attributes:
        volume: which one.
        choice: for its Revision.
        staged: names of the nodes that have it, sorted.
        warming: copies that are being brought, by node.
        errors: why it couldn't be brought where it is wanted, by node.

    """

    volume: Volume
    choice: Choice
    staged: tuple[str, ...]
    warming: Mapping[str, Copy]
    errors: Mapping[str, str]

    @property
    def nodes(self) -> str:
        """On how many of the wanted nodes it is staged; if none is wanted, on how many at all."""
        return f"{self._here}/{self.choice.replicas}" if self.choice.replicas else str(len(self.staged))

    def status(self, previous: Json, now: str) -> Json:
        """Return the ModelVolume's status.

        Args:
            previous: the status that it has now; {} if none.
            now: RFC 3339, for conditions that change.

        """
        slowest, left = self._slowest(), self._left()
        status: Json = {
            "observedGeneration": self.volume.generation,
            "wanted": self.choice.replicas,
            "staged": len(self.staged),
            "staging": len(self.warming),
            "nodes": self.nodes,
            "progress": _progress_text(slowest) if slowest is not None else "",
            "bytesPerSecond": round(sum(copy.rate for copy in self.warming.values())),
            "stagedOn": list(self.staged[:_NAMED]),
            "conditions": [
                self._condition("Placed", self._placed(), previous, now),
                self._condition("Staged", self._staged(), previous, now),
            ],
        }
        if left is not None:
            status["secondsLeft"] = left
        return status

    def annotation(self) -> str:
        """Return the note on the claim, e.g. ``staged on 2 of 3 nodes``."""
        _, _, words = self._staged()
        return f"{words}; {self.choice.lacking}" if self.choice.lacking else words

    @property
    def _here(self) -> int:
        return sum(name in self.choice.wanted for name in self.staged)

    def _slowest(self) -> Copy | None:
        """Return the copy that is being brought and will take longest; of the wanted ones, if there are any."""
        wanted = [copy for name, copy in sorted(self.warming.items()) if name in self.choice.wanted]
        among = wanted or [copy for _, copy in sorted(self.warming.items())]
        return max(among, key=_seconds_left, default=None)

    def _left(self) -> int | None:
        slowest = self._slowest()
        seconds = inf if slowest is None else _seconds_left(slowest)
        return None if seconds == inf else max(1, round(seconds))

    def _placed(self) -> tuple[bool, str, str]:
        if self.choice.lacking:
            return False, "NotEnoughNodes", self.choice.lacking
        if not self.choice.wanted:
            return True, "NothingWanted", "no node is wanted ahead of pods"
        return True, "Placed", f"wanted on {nodes_text(len(self.choice.wanted))}"

    def _staged(self) -> tuple[bool, str, str]:
        wanted, anywhere = self.choice.replicas, len(self.staged)
        on_the_way = f", being staged on {len(self.warming)}" if self.warming else ""
        if not wanted:
            words = f"staged on {nodes_text(anywhere)}" if anywhere else "staged on no node"
            reason = "Staged" if anywhere else "Staging" if self.warming else "NothingWanted"
            return anywhere > 0, reason, words + on_the_way
        words = f"staged on {self._here} of {nodes_text(wanted)}{on_the_way}"
        if self._here >= wanted:
            return True, "Staged", words
        if self.errors:
            name, error = min(self.errors.items())
            return False, "Failing", f"{words}; on {name}: {error[:_ERROR_CHARACTERS]}"
        return False, "Staging" if self.choice.wanted else "NotEnoughNodes", words

    def _condition(self, kind: str, verdict: tuple[bool, str, str], previous: Json, now: str) -> Json:
        holds, reason, message = verdict
        status = "True" if holds else "False"
        return {
            "type": kind,
            "status": status,
            "observedGeneration": self.volume.generation,
            "lastTransitionTime": _since(previous, kind, status) or now,
            "reason": reason,
            "message": message,
        }


def standing(volume: Volume, choice: Choice, copies: Mapping[str, Copy]) -> Standing:
    """Tell how far a volume is.

    Args:
        volume: which one.
        choice: for its Revision.
        copies: of its Revision, by node; only of nodes that are alive.

    """
    return Standing(
        volume,
        choice,
        tuple(sorted(name for name, copy in copies.items() if copy.warmth is Warmth.STAGED)),
        {name: copy for name, copy in copies.items() if copy.warmth is Warmth.WARMING},
        {
            name: copy.error
            for name, copy in copies.items()
            if copy.error and copy.warmth is Warmth.COLD and name in choice.wanted
        },
    )


def waiting_words(
    waiting: Waiting, nodes: Mapping[str, Node], sources: Mapping[str, str], choices: Mapping[str, Choice]
) -> str:
    """Tell a pod that waits for a node where its models are being staged, how far that is, and how long still.

    Args:
        waiting: the pod.
        nodes: all, by name, with what is wanted of them now.
        sources: by revision, the reference.
        choices: by revision; of one that is absent nothing is known.

    """
    group = tuple(sorted(set(waiting.revisions)))
    coming = [
        node
        for node in nodes.values()
        if node.alive
        and all(node.begun(revision) or revision in node.wants for revision in group)
        and usable(waiting.pod, node)
    ]
    node = best_for(group, coming, {}, {}, Supposed("", frozenset(), {}))
    if node is None:
        why = dict.fromkeys(choices[revision].lacking for revision in group if revision in choices)
        return "; ".join(filter(None, why)) or "a node is being chosen on which its models will be staged"
    if all(staged(node, revision) for revision in group):
        return f"node {node.name} has all its models: the pod goes there as soon as the scheduler finds room on it"
    parts = [f"{sources.get(revision, revision[:12])} {_there(node, revision, nodes.values())}" for revision in group]
    return f"waits for node {node.name}: {'; '.join(parts)}"


def _there(node: Node, revision: str, nodes: Iterable[Node]) -> str:
    """Tell how far a Revision is on the node that a pod waits for."""
    if staged(node, revision):
        return "is staged there"
    elsewhere = min((other.name for other in nodes if staged(other, revision)), default="")
    aside = f" (it is staged on {elsewhere}, but this pod can't use that, or needs more than that)" if elsewhere else ""
    copy = node.copies.get(revision)
    if copy is not None and copy.warmth is Warmth.WARMING:
        return f"is being staged there: {Progress(copy.bytes, copy.present, rate=copy.rate).words()}{aside}"
    if copy is not None and copy.error:
        return f"couldn't be staged there yet: {copy.error[:_ERROR_CHARACTERS]}{aside}"
    return f"is about to be staged there{aside}"


def _seconds_left(copy: Copy) -> float:
    return max(0, copy.bytes - copy.present) / copy.rate if copy.rate > 0 else inf


def _progress_text(copy: Copy) -> str:
    """Render e.g. ``45 %, 1.10 GB/s, 12 s left``."""
    parts = [f"{100 * copy.present // copy.bytes if copy.bytes else 100} %"]
    if copy.rate > 0:
        parts += [rate_text(copy.rate), f"{duration_text(max(1.0, _seconds_left(copy)))} left"]
    return ", ".join(parts)


def _since(previous: Json, kind: str, status: str) -> str:
    """Return when a condition took the status that it still has; "" if it hasn't."""
    conditions = previous.get("conditions")
    for condition in conditions if isinstance(conditions, list) else ():
        if isinstance(condition, dict) and condition.get("type") == kind and condition.get("status") == status:
            since = condition.get("lastTransitionTime")
            return since if isinstance(since, str) else ""
    return ""
