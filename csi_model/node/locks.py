"""One call at a time per volume."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from csi_model.errors import InProgress

_PATIENCE = 5.0  # seconds: steps under a volume's lock are short; more means a stuck disk or kernel, or a slow registry


class VolumeLocks:
    """Locks by volume id, made when needed and forgotten when free."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def of(self, volume_id: str) -> Iterator[None]:
        """Hold the lock of a volume.

        Raises:
            InProgress: another call has had it for five seconds.

        """
        with self._guard:
            lock, users = self._locks.get(volume_id, (threading.Lock(), 0))
            self._locks[volume_id] = lock, users + 1
        try:
            if not lock.acquire(timeout=_PATIENCE):
                raise InProgress(f"another call for volume {volume_id} is still running; it will be tried again")
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._guard:
                lock, users = self._locks.pop(volume_id)
                if users > 1:
                    self._locks[volume_id] = lock, users - 1
