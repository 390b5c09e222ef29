"""Watches a call that holds: asks the agent's admin socket how far the warm-up is, and shows it."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from csi_model.rpc.admin import AdminClient, NoAgent

_LOOK = 0.2  # seconds between two looks
_SPEAK = 2.0  # seconds between two lines where there is no terminal
Result = TypeVar("Result")


class Watch:
    """Shows progress while a call runs in another thread.

    Args:
        console: where to show it.
        admin_socket: of the agent.
        hang_up: makes running calls end, if we are interrupted.

    """

    def __init__(self, console: Console, admin_socket: Path, hang_up: Callable[[], None]) -> None:
        self._console = console
        self._admin_socket = admin_socket
        self._hang_up = hang_up

    def fetched_bytes(self) -> int:
        """Return the bytes that the agent has received from sources in its life."""
        with AdminClient(self._admin_socket) as agent:
            return int(agent.status()["fetched_bytes"])

    def during(self, call: Callable[[], Result]) -> Result:
        """Make a call and show how far its warm-up is until it returns."""
        with ThreadPoolExecutor(1, thread_name_prefix="kubelet") as pool, AdminClient(self._admin_socket) as agent:
            running = pool.submit(call)
            try:
                self._show(running, agent)
            except BaseException:
                self._hang_up()  # else the pool would wait for the call's own end
                raise
            return running.result()

    def _show(self, running: Future[Any], agent: AdminClient) -> None:
        if not self._console.is_terminal:
            self._speak(running, agent)
            return
        columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("", total=None)
            while not _done(running, _LOOK):
                progress = _progress(agent)
                if progress is not None:
                    bar.update(
                        task, total=progress["total_bytes"], completed=progress["present_bytes"],
                        description=progress["words"],
                    )  # fmt: skip

    def _speak(self, running: Future[Any], agent: AdminClient) -> None:
        spoken = time.monotonic()
        while not _done(running, _LOOK):
            progress = _progress(agent)
            if progress is not None and time.monotonic() - spoken > _SPEAK:
                spoken = time.monotonic()
                self._console.print(f"    {progress['words']}")


def _done(running: Future[Any], timeout: float) -> bool:
    return not wait([running], timeout=timeout).not_done


def _progress(agent: AdminClient) -> dict[str, Any] | None:
    with suppress(NoAgent):  # it died: the call itself will tell
        for revision in agent.status()["revisions"]:
            if revision["progress"] is not None:
                return dict(revision["progress"])
    return None
