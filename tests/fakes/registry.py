"""A VolumeRegistry in memory, with the promises of the real one; it fails on request."""

import threading
from collections.abc import Sequence

from csi_model.core.placement import Wants
from csi_model.core.volume import VolumeRecord
from csi_model.errors import CsiModelError, VolumeExists, VolumeNotFound


class MemoryRegistry:
    """Records in a dictionary.

    Attributes:
        fail_with: raised by every call while it is set.

    """

    def __init__(self) -> None:
        self.fail_with: CsiModelError | None = None
        self._lock = threading.Lock()
        self._records: dict[str, VolumeRecord] = {}

    def get(self, volume_id: str) -> VolumeRecord | None:
        with self._lock:
            self._maybe_fail()
            return self._records.get(volume_id)

    def put(self, record: VolumeRecord) -> None:
        with self._lock:
            self._maybe_fail()
            if record.volume_id in self._records:
                raise VolumeExists(f"volume {record.volume_id} exists")
            self._records[record.volume_id] = record

    def modify(self, volume_id: str, wants: Wants) -> None:
        with self._lock:
            self._maybe_fail()
            if volume_id not in self._records:
                raise VolumeNotFound(f"no volume {volume_id!r}")
            self._records[volume_id] = self._records[volume_id].wanting(wants)

    def delete(self, volume_id: str) -> None:
        with self._lock:
            self._maybe_fail()
            self._records.pop(volume_id, None)

    def ids(self, *, after: str = "", limit: int | None = None) -> Sequence[str]:
        with self._lock:
            self._maybe_fail()
            found = sorted(volume_id for volume_id in self._records if volume_id > after)
            return found[:limit]

    def _maybe_fail(self) -> None:
        if self.fail_with is not None:
            raise self.fail_with
