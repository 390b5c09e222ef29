"""Programs that run beside the benchmark and never outlive it."""

import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from csi_model.demo.children import held_back

_PATIENCE = 10.0  # seconds to end by itself


@contextmanager
def running(
    command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program; what it says is appended to a file. It is gone afterwards. For the main thread only."""
    # By another program instead of between fork and exec, as threads run here
    setpriv = shutil.which("setpriv")
    with_parent: list[str | Path] = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    process = None
    try:
        with held_back(), log.open("ab") as output:
            process = subprocess.Popen(
                [*with_parent, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
                process_group=0,
            )  # fmt: skip
        yield process
    finally:
        if process is not None:
            end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End it kindly, then not."""
    with held_back():
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
