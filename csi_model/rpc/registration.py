"""Registration: makes the driver known to kubelet, and knows whether kubelet knows it.

Kubelet watches a directory, connects to each socket that appears in it (to all of them when it starts), asks who is
there, calls NodeGetInfo on the driver's own socket and tells how that went. When a socket's file goes away, kubelet
forgets the driver. So the socket is made once the driver answers, made anew when its file vanishes or when kubelet
says that it failed, and removed at the end.
"""

# ruff: noqa: N802, ARG002 - the protocol's own names, and gRPC's own signature

import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from csi_model import DRIVER_NAME
from csi_model.errors import CsiModelError
from csi_model.rpc.generated import pluginregistration_pb2 as pb
from csi_model.rpc.generated import pluginregistration_pb2_grpc
from csi_model.rpc.metrics import REGISTERED
from csi_model.rpc.server import Server

log = logging.getLogger(__name__)
SOCKET = f"{DRIVER_NAME}-reg.sock"
_VERSIONS = ("1.0.0",)
_WORKERS = 4  # kubelet makes one call at a time
_GRACE = 1.0  # seconds for a call that runs when the socket goes
_GLANCE = 1.0  # seconds between two looks at the socket's file
_PAUSE, _MAX_PAUSE = 1.0, 60.0  # seconds; doubles with each failure in a row


class Registration:
    """Keeps a driver registered with the kubelet of its node.

    Args:
        directory: kubelet's ``plugins_registry``.
        endpoint: the driver's own socket, at the path where kubelet sees it.
        answers: raises a CsiModelError as long as the driver doesn't answer there.
        glance: seconds between two looks at the socket's file.
        pause: seconds before the first new try after a failure.

    """

    def __init__(
        self,
        directory: Path,
        endpoint: Path,
        answers: Callable[[], None],
        *,
        glance: float = _GLANCE,
        pause: float = _PAUSE,
    ) -> None:
        self.path = directory / SOCKET
        self._endpoint, self._answers = endpoint, answers
        self._glance, self._pause = glance, pause
        self._changed = threading.Condition()
        self._closed = self._failed = False
        self._problem: str | None = "the driver doesn't answer on its socket yet"
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="registration", daemon=True)

    def start(self) -> None:
        """Begin, in the background."""
        self._thread.start()

    def close(self) -> None:
        """Remove the socket, so that kubelet forgets the driver."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def problem(self) -> str | None:
        """Return why kubelet doesn't know the driver; None if it does."""
        with self._changed:
            return self._problem

    def unready(self) -> str | None:
        """Return :meth:`problem` for /readyz."""
        problem = self.problem()
        return None if problem is None else f"not registered with kubelet: {problem}"

    def figures(self) -> Mapping[str, float]:
        """Return what /metrics shows."""
        return {REGISTERED.name: float(self.problem() is None)}

    def told(self, *, registered: bool, error: str) -> None:
        """Note what kubelet said.

        Args:
            registered: whether it knows the driver now.
            error: why not, in its words.

        """
        with self._changed:
            self._failed = not registered
            self._problem = None if registered else f"kubelet said: {error or 'it failed'}"
            if registered:
                self._failures = 0
            self._changed.notify_all()
        if registered:
            log.info("kubelet has registered the driver")
        else:
            log.warning("kubelet couldn't register the driver: %s", error)

    def _run(self) -> None:
        while not self._is_closed():
            try:
                self._answers()
                server = self._serve()
            except CsiModelError as error:
                self._note(str(error))
                self._wait(self._next_pause())
                continue
            try:
                self._watch(_identity(self.path))
            finally:
                server.stop(_GRACE)  # removes the file, too

    def _serve(self) -> Server:
        self._note(f"kubelet hasn't asked yet: {self.path} has to lie in the directory that it watches")
        servicer = _Servicer(self, self._endpoint)
        server = Server(
            str(self.path),
            lambda grpc: pluginregistration_pb2_grpc.add_RegistrationServicer_to_server(servicer, grpc),
            workers=_WORKERS,
        )
        server.start()
        log.info("registering with kubelet through %s", self.path)
        return server

    def _watch(self, made: tuple[int, int] | None) -> None:
        """Return when the socket has to be made anew, or the end has come."""
        while not self._is_closed():
            if made is None or _identity(self.path) != made:
                log.warning("%s has vanished: making it anew", self.path)
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._failed, self._glance)
                failed = self._failed
            if failed:
                # Kubelet itself may try again meanwhile, with this very socket, and have more luck.
                self._wait(self._next_pause(), lambda: not self._failed)
                with self._changed:
                    if self._failed:
                        self._failed = False
                        return

    def _wait(self, seconds: float, enough: Callable[[], bool] = lambda: False) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or enough(), seconds)

    def _next_pause(self) -> float:
        with self._changed:
            self._failures += 1
            return float(min(_MAX_PAUSE, self._pause * 2.0 ** min(self._failures - 1, 16)))

    def _note(self, problem: str) -> None:
        with self._changed:
            if problem != self._problem and self._problem is not None:
                log.info("not registered with kubelet: %s", problem)
            self._problem = problem

    def _is_closed(self) -> bool:
        with self._changed:
            return self._closed


class _Servicer(pluginregistration_pb2_grpc.RegistrationServicer):
    """What kubelet calls."""

    def __init__(self, registration: Registration, endpoint: Path) -> None:
        self._registration, self._endpoint = registration, endpoint

    def GetInfo(self, request: pb.InfoRequest, context: Any) -> pb.PluginInfo:
        return pb.PluginInfo(
            type="CSIPlugin", name=DRIVER_NAME, endpoint=os.fspath(self._endpoint), supported_versions=_VERSIONS
        )

    def NotifyRegistrationStatus(self, request: pb.RegistrationStatus, context: Any) -> pb.RegistrationStatusResponse:
        self._registration.told(registered=request.plugin_registered, error=request.error)
        return pb.RegistrationStatusResponse()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns  # the number of a file that is gone goes to the next
