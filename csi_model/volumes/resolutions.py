"""Resolutions: one background listing per volume, joined by every call that asks for the same.

A call waits as long as it can and is then told how far it is; the listing goes on, and its outcome isn't lost: a
record is made durable by the listing's own thread, an error waits for the next call of the same volume.

Threads are daemons: a listing that hangs in the network can't be interrupted, and must not keep the process alive.
Nothing is lost by that, since a record is written whole or not at all.
"""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping

from csi_model.core.units import duration_text
from csi_model.core.volume import VolumeRecord
from csi_model.errors import CsiModelError, InProgress, TooManyCalls
from csi_model.volumes.request import VolumeRequest

log = logging.getLogger(__name__)

MAX_RUNNING = 64
"""Listings at once, those that were cancelled and haven't noticed yet included."""
_NEWS = 60.0  # seconds for which a failure that nobody has heard of is worth telling instead of trying anew
_MAX_UNHEARD = 1024  # errors kept for calls that may never come

Work = Callable[[VolumeRequest, Mapping[str, str]], VolumeRecord]
"""Lists a source with the secrets of the call, and makes the record; slow."""
Keep = Callable[[VolumeRequest, VolumeRecord], VolumeRecord]
"""Makes the record durable and returns what is durable now; quick."""


class _Resolution:
    """One listing; all fields but ``gate`` are guarded by the condition of :class:`Resolutions`."""

    def __init__(self, request: VolumeRequest) -> None:
        self.request = request
        self.since = time.monotonic()
        self.waiting = 0
        self.record: VolumeRecord | None = None
        self.error: Exception | None = None
        self.ended = 0.0
        self.gate = threading.Lock()  # keeping and cancelling exclude each other
        self.cancelled = False  # guarded by gate

    @property
    def done(self) -> bool:
        return self.record is not None or self.error is not None


class Resolutions:
    """Starts and joins listings.

    Args:
        work: what to do in the background.
        keep: what to do with its result, unless the volume was deleted meanwhile.

    """

    def __init__(self, work: Work, keep: Keep) -> None:
        self._work = work
        self._keep = keep
        self._changed = threading.Condition()
        self._running: dict[str, _Resolution] = {}  # by volume id
        self._unheard: dict[str, _Resolution] = {}  # failed with nobody waiting
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def join(self, request: VolumeRequest, secrets: Mapping[str, str], *, timeout: float) -> VolumeRecord:
        """Wait for a volume's listing, and start it if it isn't running.

        Args:
            request: what to make.
            secrets: used if this call starts the listing; in memory for as long as that runs.
            timeout: seconds to wait at most.

        Raises:
            InProgress: it isn't done yet, or the same name is being resolved with other arguments.
            TooManyCalls: MAX_RUNNING are running.
            CsiModelError: what the listing failed with, while this call waited or since the call before.

        """
        deadline = time.monotonic() + timeout
        with self._changed:
            unheard = self._unheard.pop(request.volume_id, None)
            if unheard is not None and unheard.request == request and time.monotonic() - unheard.ended < _NEWS:
                return _outcome(unheard)
            resolution = self._running.get(request.volume_id) or self._start(request, secrets)
            if resolution.request != request:
                raise InProgress(
                    f"volume {request.name!r} is being made with other arguments, {_age(resolution)} so far: "
                    "what differs can be told when that is done"
                )
            resolution.waiting += 1
            while not resolution.done and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            resolution.waiting -= 1
            if resolution.done:
                return _outcome(resolution)
            raise InProgress(f"still listing {request.spec.source}, {_age(resolution)} so far")

    def cancel(self, volume_id: str) -> None:
        """Give a volume up: when this returns its record is kept already or never will be."""
        with self._changed:
            self._unheard.pop(volume_id, None)
            resolution = self._running.get(volume_id)
        if resolution is not None:
            self._give_up(resolution, "was deleted while it was being made")

    def close(self, *, timeout: float) -> None:
        """Start nothing any more, wait for the running listings, and keep the record of none that is later.

        Args:
            timeout: seconds to wait for all of them together.

        """
        deadline = time.monotonic() + timeout
        with self._changed:
            self._closed = True
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            left = list(self._running.values())
        for resolution in left:
            self._give_up(resolution, "isn't made: the driver is stopping")

    def _start(self, request: VolumeRequest, secrets: Mapping[str, str]) -> _Resolution:
        if self._closed:
            raise InProgress(f"volume {request.name!r} isn't made: the driver is stopping")
        if len(self._threads) >= MAX_RUNNING:
            raise TooManyCalls(
                f"{MAX_RUNNING} volumes are being resolved: {request.name!r} has to wait for one of them"
            )
        resolution = _Resolution(request)
        thread = threading.Thread(
            target=self._resolve, args=(resolution, secrets), name=f"resolve {request.name}", daemon=True
        )
        thread.start()  # its end waits for the lock that is held here
        self._running[request.volume_id] = resolution
        self._threads.add(thread)
        return resolution

    def _resolve(self, resolution: _Resolution, secrets: Mapping[str, str]) -> None:
        record, failure = None, None
        try:
            found = self._work(resolution.request, secrets)
            with resolution.gate:
                if not resolution.cancelled:
                    record = self._keep(resolution.request, found)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait have to learn it
            if not isinstance(error, CsiModelError):
                # The place only: the message may hold what the call must not tell; its caller's log redacts that.
                where = "".join(traceback.format_tb(error.__traceback__))
                log.error("resolving volume %s failed: %s at\n%s", resolution.request.name, type(error), where)  # noqa: TRY400
            failure = _bare(error)
        self._finish(resolution, record, failure)
        with self._changed:
            self._threads.discard(threading.current_thread())

    def _give_up(self, resolution: _Resolution, why: str) -> None:
        with resolution.gate:
            resolution.cancelled = True
        self._finish(resolution, None, InProgress(f"volume {resolution.request.name!r} {why}"))

    def _finish(self, resolution: _Resolution, record: VolumeRecord | None, error: Exception | None) -> None:
        volume_id = resolution.request.volume_id
        with self._changed:
            if resolution.done:
                return
            resolution.record, resolution.error, resolution.ended = record, error, time.monotonic()
            if self._running.get(volume_id) is resolution:
                del self._running[volume_id]
            if error is not None and not resolution.waiting and not resolution.cancelled:
                self._unheard[volume_id] = resolution
                while len(self._unheard) > _MAX_UNHEARD:
                    del self._unheard[next(iter(self._unheard))]
            self._changed.notify_all()


def _outcome(resolution: _Resolution) -> VolumeRecord:
    if resolution.error is not None:
        raise resolution.error
    assert resolution.record is not None  # noqa: S101 - done means one of the two
    return resolution.record


def _age(resolution: _Resolution) -> str:
    return duration_text(time.monotonic() - resolution.since)


def _bare(error: Exception) -> Exception:
    """Cut the tracebacks off an error that may be kept: their frames hold the secrets of the call."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
