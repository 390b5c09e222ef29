"""Telling: how the people behind a claim hear of its staging, and what metrics count of each attempt.

Nobody who wants a model sees this node's log. What they see is ``kubectl describe`` of their claim: that staging
began, every 20 seconds how far it is, and how it ended. A volume whose copy is here already is staged in silence.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from csi_model.core.units import bytes_text, duration_text
from csi_model.core.volume import Claim
from csi_model.errors import CsiModelError, InProgress, NodeError, SourceError, VolumeSpecError
from csi_model.node.warmup import Warmup

PERIOD = 20.0
"""Seconds between two events about one warm-up."""
_TICK = 1.0  # seconds between two looks at the clock, while something is being brought

Observe = Callable[[str, float], None]
"""Counts how a staging ended: one of OUTCOMES, and the seconds it took. Never blocks, never raises."""
STAGED, FAILED, STOPPED, ALREADY = "staged", "failed", "stopped", "already"
OUTCOMES = (STAGED, FAILED, STOPPED, ALREADY)
"""A warm-up brought the copy; it failed; it was stopped, as nobody wanted it or the agent ended; a call found the
copy here (and took so long)."""


class ClaimEvents(Protocol):
    """Writes events of claims."""

    def say(self, claim: Claim, *, warning: bool, reason: str, message: str) -> None:
        """Say something of a claim, some time soon, if possible; never blocks, never raises.

        Args:
            claim: whom to tell.
            warning: whether somebody should look at it.
            reason: one word in CamelCase; an event of the same claim and reason is replaced.
            message: a sentence for people, without secrets.

        """


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of a warm-up.

    Attributes:
        claim: the claim.
        source: the Reference as the volume names it.

    """

    claim: Claim
    source: str


@dataclass(slots=True)
class _Audience:
    told: float
    listeners: dict[str, Listener] = field(default_factory=dict)  # by volume id


class Telling:
    """Tells claims of the warm-ups that they want.

    Args:
        events: writes the events; None for silence.
        node: this node's name.
        observe: counts how stagings end.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        events: ClaimEvents | None = None,
        *,
        node: str = "",
        observe: Observe | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._events = events
        self._node = node
        self._observe = observe
        self._clock = clock
        self._changed = threading.Condition()
        self._audiences: dict[Warmup, _Audience] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="telling", daemon=True)

    def start(self) -> None:
        """Begin to tell the progress in the background."""
        if self._events is not None:
            self._thread.start()

    def close(self) -> None:
        """End that."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def joined(self, warmup: Warmup, volume_id: str, listener: Listener | None) -> None:
        """Note that a volume wants a warm-up; tells that staging began, once."""
        if self._events is None or listener is None:
            return
        with self._changed:
            audience = self._audiences.setdefault(warmup, _Audience(self._clock()))
            if volume_id in audience.listeners:
                return
            told = listener in audience.listeners.values()  # it wants it ahead, too
            audience.listeners[volume_id] = listener
            if told:
                return
            manifest = warmup.manifest
            size = f"{bytes_text(manifest.size)}, {manifest.files} files"
            self._say(listener, "StagingStarted", f"staging {listener.source} ({size}){self._place()}")
            self._changed.notify_all()

    def left(self, warmup: Warmup, volume_id: str) -> None:
        """Note that a volume doesn't want it any more: it hears no more of it."""
        with self._changed:
            audience = self._audiences.get(warmup)
            if audience is not None:
                audience.listeners.pop(volume_id, None)

    def refused(self, warmup: Warmup, volume_id: str, error: BaseException) -> None:
        """Tell one volume that its own rights don't suffice."""
        with self._changed:
            audience = self._audiences.get(warmup)
            listener = audience.listeners.pop(volume_id, None) if audience is not None else None
            if listener is not None:
                self._say(listener, "StagingFailed", self._failure(listener, error), warning=True)

    def ended(self, warmup: Warmup, error: BaseException | None) -> None:
        """Tell how a warm-up ended, and count it. That nobody wanted it is told to nobody."""
        stopped = isinstance(error, InProgress) and not warmup.refused
        self._count(STAGED if error is None else STOPPED if stopped else FAILED, warmup.meter.elapsed())
        with self._changed:
            audience = self._audiences.pop(warmup, None)
            for listener in _once(audience):
                if error is None:
                    self._say(listener, "Staged", self._success(warmup))
                elif not isinstance(error, InProgress):
                    self._say(listener, "StagingFailed", self._failure(listener, error), warning=True)

    def already(self, seconds: float) -> None:
        """Count a call that found its copy here."""
        self._count(ALREADY, seconds)

    def tell_progress(self) -> None:
        """Tell how far the warm-ups are of which nothing was told for PERIOD seconds."""
        now = self._clock()
        with self._changed:
            for warmup, audience in self._audiences.items():
                if now - audience.told < PERIOD:
                    continue
                audience.told = now
                words = warmup.progress().words()
                for listener in _once(audience):
                    self._say(listener, "Staging", f"staging {listener.source}{self._place()}: {words}")

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._audiences)
                if self._changed.wait_for(lambda: self._closed, _TICK):
                    return
            self.tell_progress()

    def _count(self, outcome: str, seconds: float) -> None:
        if self._observe is not None:
            self._observe(outcome, seconds)

    def _say(self, listener: Listener, reason: str, message: str, *, warning: bool = False) -> None:
        if self._events is not None:
            self._events.say(listener.claim, warning=warning, reason=reason, message=message)

    def _place(self) -> str:
        return f" on {self._node}" if self._node else ""

    def _success(self, warmup: Warmup) -> str:
        progress = warmup.progress()
        text = f"staged {bytes_text(progress.total)} in {duration_text(warmup.meter.elapsed())}{self._place()}"
        return text + (f" ({bytes_text(progress.shared)} of it was there already)" if progress.shared else "")

    def _failure(self, listener: Listener, error: BaseException) -> str:
        # What isn't ours may hold anything, also a secret.
        what = str(error) if isinstance(error, CsiModelError) else "an internal error, which the agent's log tells"
        return f"staging {listener.source}{self._place()} failed: {what}. {self._who_acts(error)}"

    def _who_acts(self, error: BaseException) -> str:
        who = {
            VolumeSpecError: "the author of the claim, its StorageClass or its PersistentVolume",
            SourceError: "the owner of the source",
            NodeError: f"the administrator of {self._node or 'the node'}",
        }
        acting = next((text for kind, text in who.items() if isinstance(error, kind)), "the driver's administrator")
        if isinstance(error, CsiModelError) and error.transient:
            return f"It is tried again by itself; if it stays, {acting} has to act"
        return f"Now {acting} has to act"


def _once(audience: _Audience | None) -> Iterable[Listener]:
    """Return everybody once, also who wants the same for two reasons: for a pod, and ahead of any."""
    return dict.fromkeys(audience.listeners.values()) if audience is not None else ()
