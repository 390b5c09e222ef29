"""The daemon: starts a driver, waits for a signal, and stops it.

Signals are blocked and waited for by the main thread, so that none arrives in the middle of anything. A thread that
dies of an unexpected exception ends the process with an error: half a driver is worse than a restarted one.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable
from functools import partial

from csi_model import __version__
from csi_model.cli import exits
from csi_model.cli.build import build
from csi_model.cli.plan import Plan
from csi_model.node.privileges import NEEDED, drop_all_but
from csi_model.rpc import logs
from csi_model.rpc.server import Server
from csi_model.sources.catalog import preload

log = logging.getLogger(__name__)
_GRACE = 3.0  # seconds that running calls get when the process is asked to end; kubelet waits 30 before it kills
_ENDING = (signal.SIGTERM, signal.SIGINT)
_DEATH = signal.SIGUSR1  # a thread's last word to the main thread


class Daemon:
    """A driver, built and not started.

    Args:
        plan: what to run.

    Raises:
        InvalidArgument, StoreLocked, StoreUnusable: as :func:`csi_model.cli.build.build`.

    """

    def __init__(self, plan: Plan) -> None:
        self._parts = build(plan)

    def start(self) -> None:
        """Begin to answer, then to keep house and to get ready for the first volume."""
        parts = self._parts
        parts.driver.start()
        if parts.web is not None:
            parts.web.start()
            log.info("health and metrics: port %d", parts.web.port)
        if parts.node is not None:
            parts.node.start()
        if parts.registration is not None:
            parts.registration.start()
        _begin(self._prepare)

    def _prepare(self) -> None:
        """Do what takes long and isn't needed for the first Probe: import clients."""
        if self._parts.cluster is not None:
            self._parts.cluster.run()
        preload()

    def stop(self) -> None:
        """Take no new calls, let short ones finish, stop warm-ups (their spans stay), remove the sockets.

        Takes seconds, whatever a source or an API does: a request that stalls is left in the middle, as a crash would
        leave it.
        """
        parts = self._parts
        steps: list[Callable[[], None]] = [partial(_stop, parts.driver)]
        if parts.node is not None:
            # This, and closing the controller, wakes the calls that wait: they answer ABORTED.
            steps += [partial(_stop, parts.node.admin), parts.node.wake]
        closing = (parts.registration, parts.web, parts.cluster, parts.controller)
        steps += [part.close for part in closing if part is not None]
        for thread in [_begin(step) for step in steps]:
            thread.join(_GRACE + 1)
        if parts.node is not None:
            ending = _begin(parts.node.close)
            ending.join(_GRACE)
            if ending.is_alive():
                log.warning("a request to a source is left in the middle; what is on the disk is resumed")
        if parts.workers is not None:
            parts.workers.close()


def _begin(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action, daemon=True)
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
    if plan.drop_capabilities and plan.stages:
        drop_all_but(frozenset(NEEDED))
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_ENDING, _DEATH})
    threading.excepthook = _last_word
    daemon = Daemon(plan)
    daemon.start()
    log.info("csi-model %s is ready: %s", __version__, ", ".join(f"{k} {v}" for k, v in plan.summary().items()))
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
