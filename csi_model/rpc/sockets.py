"""The Unix socket that a server listens on: how an endpoint is written, who may connect, and stale socket files."""

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csi_model.errors import InvalidArgument, StoreLocked, StoreUnusable

_MAX_PATH_BYTES = 107  # sun_path, less its final NUL: unix(7)
_CONNECT_TIMEOUT = 1.0  # seconds; a listener with a full backlog neither accepts nor refuses
_umask_lock = threading.Lock()


def socket_path(endpoint: str) -> Path:
    """Read an endpoint: ``unix:///p``, ``unix:/p`` (``unix:p``), or a plain path.

    Raises:
        InvalidArgument: it is another kind of address, its path is too long, or its directory doesn't exist.

    """
    text = endpoint.removeprefix("unix://") if endpoint.startswith("unix://") else endpoint.removeprefix("unix:")
    if "://" in text or (endpoint.startswith("unix://") and not text.startswith("/")) or ":" in text.partition("/")[0]:
        raise InvalidArgument("endpoint", f"{endpoint[:200]!r} is not a Unix socket: say unix:///path/to/csi.sock")
    if not text or "\0" in text:
        raise InvalidArgument("endpoint", "names no path: say unix:///path/to/csi.sock")
    path = Path(text).absolute()
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise InvalidArgument(
            "endpoint", f"{path} is longer than the {_MAX_PATH_BYTES} bytes that a Unix socket may have"
        )
    if not path.parent.is_dir():
        raise InvalidArgument("endpoint", f"{path.parent} is not a directory: make it first")
    return path


def remove_stale(path: Path) -> None:
    """Remove the socket file of a process that is gone.

    gRPC itself would remove any socket file, also that of a driver which is running.

    Raises:
        InvalidArgument: something that is no socket is there.
        StoreLocked: somebody listens.

    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InvalidArgument("endpoint", f"{path} exists and is not a socket: remove it, or choose another path")
    if listens(path):
        raise StoreLocked(f"another process listens on {path}: is csi-model running already?")
    path.unlink(missing_ok=True)


def listens(path: Path) -> bool:
    """Tell whether somebody listens on a Unix socket.

    Raises:
        StoreUnusable: it can't be told (no right to connect, say).

    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_CONNECT_TIMEOUT)
        try:
            client.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except TimeoutError:
            return True
        except OSError as error:
            raise StoreUnusable(f"can't connect to {path}: {error.strerror or error}") from error
    return True


@contextmanager
def owner_only() -> Iterator[None]:
    """Make what is created in a ``with`` block inaccessible to others, whatever the umask.

    The umask is the whole process's: what other threads create meanwhile is inaccessible to others as well, but
    directories stay usable to their owner.
    """
    with _umask_lock:
        before = os.umask(0o077)
        try:
            yield
        finally:
            os.umask(before)
