"""The driver's side of one worker: its process, and the conduits that reads go through."""

import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import csi_model
from csi_model.sources.shared import SharedBuffer
from csi_model.sources.worker import MESSAGE, STOP

_TICK = 1.0  # seconds between two looks at whether a read was cut off
# The driver's own modules and no others: neither the working directory's nor any that hide the standard library's.
_PROGRAM = "import sys; sys.path.append(sys.argv.pop(1)); from csi_model.sources.worker import main; main()"
_ROOT = str(Path(csi_model.__file__).parents[1])


class Conduit:
    """Our end of what one read at a time goes through.

    Attributes:
        process: who is at the other end.
        pool: the number of the pool that the read is for.

    """

    def __init__(self, process: "Process", index: int, end: socket.socket, patience: int) -> None:
        self.process = process
        self.pool = -1
        self._index = index
        self._end = end
        self._patience = patience
        self._number = 0
        self._cut = False
        self._heard = bytearray(MESSAGE)
        end.settimeout(_TICK)

    def begin(self, pool: int) -> None:
        """Get ready for a read in the place of the pool of that number."""
        self.pool, self._cut = pool, False
        self._number += 1

    def ask(self, request: bytes, buffer: SharedBuffer) -> None:
        """Let the worker begin the read; raises OSError if it is dead."""
        socket.send_fds(self._end, [b"%d " % self._number, request], [buffer.fd])

    def cut(self) -> None:
        """Make the read end soon; from any thread."""
        self._cut = True
        self.process.tell(f"cut {self._index} {self._number}")

    def say(self, message: bytes) -> None:
        self._end.send(message)

    def hear(self) -> bytes:
        """Wait for what the worker says.

        Raises:
            OSError: it is dead, or didn't end a read that was cut off.

        """
        left = self._patience
        while True:
            try:
                count = self._end.recv_into(self._heard)
            except TimeoutError:
                if not self._cut:
                    continue  # the worker has limits of its own
                left -= 1
                if left < 0:
                    raise
                self.cut()  # again: it may have been connecting, which isn't cut off
                continue
            if not count:
                raise ConnectionResetError
            return bytes(self._heard[:count])

    def stop(self) -> bool:
        """End a read whose worker waits for us; tells whether the worker said that it is over."""
        self._cut = True
        try:
            self.say(STOP)
            self.hear()
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._end.close()


class Process:
    """A worker.

    Args:
        conduits: how many reads it can do at a time.
        patience: seconds that it gets to end one.

    Attributes:
        pid: its number.
        free: conduits that no read goes through; its owner's to change.

    Raises:
        OSError: it can't be started.

    """

    def __init__(self, conduits: int, patience: int) -> None:
        self._lock = threading.Lock()
        with ExitStack() as theirs, ExitStack() as ours:
            pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(conduits)]
            fds = [theirs.enter_context(pair[1]).fileno() for pair in pairs]
            self.free = [
                Conduit(self, index, ours.enter_context(pair[0]), patience) for index, pair in enumerate(pairs)
            ]
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, _ROOT, *map(str, fds)],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0, pass_fds=fds,
            )  # fmt: skip
            ours.pop_all()
        self.pid = self._child.pid
        if self._child.stdin is not None:
            os.set_blocking(self._child.stdin.fileno(), False)

    def is_alive(self) -> bool:
        return self._child.poll() is None

    def tell(self, order: str) -> None:
        """Give an order that isn't answered."""
        with self._lock, suppress(OSError, ValueError):  # it is dead, or was ended: then nothing needs to be told
            if self._child.stdin is not None:
                self._child.stdin.write(f"{order}\n".encode())

    def end(self) -> None:
        """Kill it; when this returns it is dead. May be repeated."""
        self._child.kill()
        self._child.wait()
        with self._lock:
            if self._child.stdin is not None:
                self._child.stdin.close()
