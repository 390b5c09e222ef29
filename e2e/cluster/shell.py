"""Commands that end: each has a limit, and a failure says what the command said."""

import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

TIMEOUT = 60.0  # seconds
_PAUSE = 0.05


class CommandFailed(Exception):
    """A command failed or took too long; the text has its last words."""


class TookTooLong(TimeoutError):
    """Something awaited didn't come about."""


def run(
    *command: str | Path, timeout: float = TIMEOUT, check: bool = True, stdin: str = "",
    environment: Mapping[str, str] | None = None, cwd: Path | None = None,
) -> str:  # fmt: skip
    """Run a command and return its standard output.

    Args:
        command: program and arguments.
        timeout: seconds.
        check: whether a failure is an error.
        stdin: its standard input.
        environment: in place of our own.
        cwd: where it runs.

    Raises:
        CommandFailed: it failed (if `check`) or took too long.

    """
    text = shlex.join(map(str, command))
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, errors="replace", timeout=timeout, env=environment,
            cwd=cwd, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"took longer than {timeout:.0f} s: {text}") from error
    if check and done.returncode != 0:
        raise CommandFailed(f"exit {done.returncode}: {text}\n{done.stdout[-2000:]}{done.stderr[-4000:]}".rstrip())
    return done.stdout


def until(condition: Callable[[], object], what: str, timeout: float = TIMEOUT, pause: float = _PAUSE) -> None:
    """Wait for a condition that gives no sign of its own, by looking every `pause` seconds; TookTooLong."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TookTooLong(f"not within {timeout:.0f} s: {what}")
        time.sleep(pause)


def answers(host: str, port: int) -> bool:
    """Say whether somebody listens there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
