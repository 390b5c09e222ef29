"""The composition root of ``serve``: build the pieces, wire them, start, supervise, stop.

Signals are blocked and waited for by the main thread, so that none arrives in the middle of anything. A thread that
dies of an unexpected exception ends the process with an error: half a driver is worse than a restarted one.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from csi_model import __version__
from csi_model.cli import exits
from csi_model.cli.cores import usable_cores
from csi_model.node.agent import NodeAgent, open_store
from csi_model.node.keeper import Keeper
from csi_model.node.linux_mounts import LinuxMounts
from csi_model.rpc import logs
from csi_model.rpc.admin import build_admin_server
from csi_model.rpc.controller import ControllerService
from csi_model.rpc.identity import IdentityService
from csi_model.rpc.node import NodeService
from csi_model.rpc.server import Server, build_server
from csi_model.settings import Settings
from csi_model.sources.catalog import open_source, preload
from csi_model.volumes.file_registry import FileRegistry
from csi_model.volumes.volumes import Volumes

if TYPE_CHECKING:
    from csi_model.sources.workers import Workers

log = logging.getLogger(__name__)
_GRACE = 3.0  # seconds that running calls get when the process is asked to end; kubelet waits 30 before it kills
_ENDING = (signal.SIGTERM, signal.SIGINT)
_DEATH = signal.SIGUSR1  # a thread's last word to the main thread


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    Attributes:
        mode: ``all``, ``controller`` or ``node``.
        endpoint: the Unix socket of the CSI services.
        node_id: this node's name.
        registry: directory of the volume records.
        settings: every other knob.
        log_level: a level's name.
        log_format: ``human`` or ``json``.

    """

    mode: str
    endpoint: str
    node_id: str
    registry: Path
    settings: Settings
    log_level: str = "info"
    log_format: str = "human"


class Daemon:
    """A driver, built and not started.

    Args:
        plan: what to run.

    Raises:
        InvalidArgument: the endpoint or the node's name is none.
        StoreLocked: another driver owns the store or listens on the endpoint.
        StoreUnusable: the store, the registry or a socket can't be used.

    """

    def __init__(self, plan: Plan) -> None:
        registry = FileRegistry(plan.registry)
        self._workers = _start_workers(plan)
        source = partial(open_source, ca_bundle=plan.settings.ca_bundle, workers=self._workers)
        self._agent: NodeAgent | None = None
        self._volumes: Volumes | None = None
        self._servers: list[Server] = []
        with ExitStack() as undo:
            if self._workers is not None:
                undo.callback(self._workers.close)
            controller = node = None
            if plan.mode != "controller":
                mounts = LinuxMounts()
                store = open_store(plan.settings.store, mounts)
                undo.callback(store.close)
                self._agent = agent = NodeAgent(
                    store, mounts, lookup=registry.get, open_source=source, settings=plan.settings
                )
                node = NodeService(agent, node_id=plan.node_id)
                admin = build_admin_server(
                    store.layout.admin_socket, Keeper(store, mounts, agent.warmer, agent.read_ahead)
                )
                undo.callback(_stop, admin)
                self._servers.append(admin)
            if plan.mode != "node":
                self._volumes = volumes = Volumes(registry, source, ambient_allow=plan.settings.ambient_allow)
                available = self._agent.available if self._agent is not None else None
                controller = ControllerService(volumes, available=available)
            driver = build_server(plan.endpoint, identity=IdentityService(), controller=controller, node=node)
            self._servers.append(driver)
            undo.pop_all()

    def start(self) -> None:
        """Begin to answer, then to keep house and to get ready for the first volume."""
        for server in self._servers:
            server.start()
        if self._agent is not None:
            self._agent.start()
        _begin(preload)

    def stop(self) -> None:
        """Take no new calls, let short ones finish, stop warm-ups (their spans stay), remove the sockets.

        Takes seconds, whatever a source does: a request that stalls is left in the middle, as a crash would leave it.
        """
        closing = [_begin(_stop, server) for server in self._servers]
        # These two wake the calls that wait for a listing or a warm-up: they answer ABORTED.
        if self._volumes is not None:
            closing.append(_begin(self._volumes.close))
        if self._agent is not None:
            closing.append(_begin(self._agent.warmer.close))
        for thread in closing:
            thread.join(_GRACE + 1)
        if self._agent is not None:
            ending = _begin(self._agent.close)
            ending.join(_GRACE)
            if ending.is_alive():
                log.warning("a request to a source is left in the middle; what is on the disk is resumed")
        if self._workers is not None:
            self._workers.close()


def _start_workers(plan: Plan) -> "Workers | None":
    """Start the processes that read over TLS, where there are to be any: while no thread of gRPC's runs."""
    transfer = plan.settings.transfer
    count = transfer.tls_processes_on(usable_cores()) if plan.mode != "controller" else 0
    if not count:
        return None
    from csi_model.sources.workers import Workers  # noqa: PLC0415 - small nodes need none of it

    return Workers(count, -(-transfer.streams_most // count))


def _begin(action: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=action, args=arguments, daemon=True)
    thread.start()
    return thread


def _stop(server: Server) -> None:
    server.stop(_GRACE)
    server.path.unlink(missing_ok=True)


def run(plan: Plan) -> int:
    """Run a driver until it is told to end.

    Returns:
        The exit code: 0 after SIGTERM or SIGINT, 1 if a part of the driver died.

    Raises:
        CsiModelError: as :class:`Daemon`; nothing runs then.

    """
    logs.setup(plan.log_level, plan.log_format)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_ENDING, _DEATH})
    threading.excepthook = _last_word
    daemon = Daemon(plan)
    daemon.start()
    log.info("csi-model %s is ready: %s", __version__, ", ".join(f"{k} {v}" for k, v in _summary(plan).items()))
    received = signal.Signals(signal.sigwait({*_ENDING, _DEATH}))
    if received == _DEATH:
        log.error("a thread of the driver died: ending, so that it is started anew")
    else:
        log.info("%s: stopping", received.name)
    daemon.stop()
    log.info("stopped")
    return exits.FAILED if received == _DEATH else exits.OK


def _last_word(death: threading.ExceptHookArgs) -> None:
    name = death.thread.name if death.thread else "?"
    log.critical("thread %s died", name, exc_info=death.exc_value)
    os.kill(os.getpid(), _DEATH)


def _summary(plan: Plan) -> Mapping[str, object]:
    summary: dict[str, object] = {"mode": plan.mode, "endpoint": plan.endpoint, "registry": plan.registry}
    if plan.mode != "controller":
        summary |= {"node": plan.node_id, "store": plan.settings.store.root}
    return summary
