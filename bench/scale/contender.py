"""The controller that is measured: whichever process plays it now."""

from contextlib import ExitStack

from bench.scale.control_plane import ACCOUNT, ControlPlane
from bench.scale.controller import Controller, controller
from bench.scale.figures import Figure
from bench.scale.run import Run

_TOKEN = 4 * 3600  # seconds that its token is valid
_MEMORY = 400  # MiB at most


class Contender:
    """One controller after the other, each a new process.

    Args:
        plane: the API server.
        port: of its webhook.
        run: what goes on.
        stack: ends the last one.

    """

    def __init__(self, plane: ControlPlane, port: int, run: Run, stack: ExitStack) -> None:
        self._plane, self._port, self._run = plane, port, run
        self._kubeconfig = plane.kubeconfig(ACCOUNT, _TOKEN)
        self._stack = stack.enter_context(ExitStack())
        self._number = 0
        self._peaks: list[float] = []
        self.now: Controller

    def start(self) -> None:
        """Start one; for the main thread."""
        self._number += 1
        identity = f"controller-{self._number}"
        self.now = self._stack.enter_context(controller(self._plane, self._kubeconfig, identity, self._port))
        self._run.say(f"{identity} is process {self.now.process.pid}")

    def stop(self) -> None:
        """End it as Kubernetes would."""
        self._note_peak()
        self._stack.close()

    def kill(self) -> None:
        """End it as a lost node would."""
        self._note_peak()
        self.now.crash()
        self._stack.close()

    def weigh(self) -> None:
        """Add the memory of all of them to the figures."""
        self._note_peak()
        each = ", ".join(f"{peak:.0f}" for peak in self._peaks)
        note = f"of each process: {each} MiB"
        self._run.add(Figure("memory, peak", max(self._peaks), "MiB", _MEMORY, note))

    def _note_peak(self) -> None:
        self._peaks.append(self.now.peak())
