"""Child processes that never outlive the benchmark, and what they and their own children use."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from csi_model.demo.children import held_back

_PATIENCE = 5.0  # seconds that a child has to end by itself
_SET_DEATH_SIGNAL, _SET_SUBREAPER = 1, 36  # include/uapi/linux/prctl.h
_PREFIXES = ("AWS_", "CSI", "RCLONE_", "MINIO_", "SSL_CERT_")
_ENDINGS = ("_proxy", "_ca_bundle")
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def adopt_orphans() -> None:
    """Become the parent of whatever our children leave behind, so that it is found and ended."""
    _prctl(_SET_SUBREAPER, 1, 0, 0, 0)


@contextmanager
def child(
    command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """Run a program with pipes to its standard input and output; it and all it started are gone afterwards.

    Args:
        command: what to run.
        log: file that its standard error is appended to.
        environment: in place of our own.
        cwd: where it runs.

    """
    with ExitStack() as stack:
        with held_back(), log.open("a") as errors:
            # In a process group of its own, since Ctrl-C is for us, who end the children in order
            process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                text=True, env=environment, cwd=cwd, process_group=0,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no threads run here
            )  # fmt: skip
            stack.callback(_end, process)
        yield process


def usage(process: psutil.Process) -> float:
    """Return the processor seconds of a process and those of its children that still run."""
    total = 0.0
    for member in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = member.cpu_times()
            total += times.user + times.system
    return total


def end_leftovers() -> None:
    """Kill what is still below us."""
    with held_back():
        below = psutil.Process().children(recursive=True)
        _kill(below)


def _end(process: "subprocess.Popen[str]") -> None:
    with held_back():  # also against a second Ctrl-C
        below: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            below = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
        process.kill()
        with suppress(BrokenPipeError):  # what it never read
            process.communicate()
        _kill(below)


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=_PATIENCE)


def _die_with_parent() -> None:
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def clean_environment(**more: str) -> dict[str, str]:
    """Return our environment without proxies, accounts and authorities that a client would take from it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_PREFIXES) and not k.lower().endswith(_ENDINGS)}
    return kept | more
