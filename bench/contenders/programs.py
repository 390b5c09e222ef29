"""External programs as contenders: run to their end, with their peak memory watched."""

import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.contenders import peak_rss_mib

_LOOK = 20  # milliseconds between two looks at a program's memory, which is gone when it ends


def run_program(
    command: Sequence[str], *, says: str = "", environment: Mapping[str, str] | None = None, output: int | None = None
) -> float:
    """Run a program to its end; returns the most memory it had resident, in MiB.

    Args:
        command: what to run.
        says: what it reads from its standard input: a place for URLs and keys that nobody else sees.
        environment: more variables for it.
        output: descriptor for its standard output.

    Ends this process with the program's last words if it fails.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=output if output is not None else subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(says.encode())
    process.stdin.close()
    peak = _watch(process.pid)
    if process.wait():
        sys.exit(f"{command[0]} ended with {process.returncode}")
    return peak


def run_together(commands: Sequence[Sequence[str]], says: Sequence[str], outputs: Sequence[int]) -> float:
    """Run programs side by side; returns the memory they had at their peaks, all together, in MiB."""
    with ThreadPoolExecutor(len(commands)) as pool:
        each = [
            pool.submit(run_program, command, says=text, output=output)
            for command, text, output in zip(commands, says, outputs, strict=True)
        ]
        return sum(peak.result() for peak in each)


def _watch(pid: int) -> float:
    peak = 0.0
    descriptor = os.pidfd_open(pid)
    try:
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        while not waiting.poll(_LOOK):
            peak = max(peak, peak_rss_mib(pid))
    finally:
        os.close(descriptor)
    return peak
