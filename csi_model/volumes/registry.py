"""The contract of a VolumeRegistry: the controller's durable memory of which volumes exist.

A record is written once, whole, and nothing of it changes later but what the volume wants; it is durable before
:meth:`VolumeRegistry.put` returns, and other processes see either all of it or nothing. Implementations pass
``tests/contracts/registry_contract.py``.
"""

from collections.abc import Sequence
from typing import Protocol

from csi_model.core.placement import Wants
from csi_model.core.volume import VolumeRecord


class VolumeRegistry(Protocol):
    """Records of volumes by id. Safe to use from several threads."""

    def get(self, volume_id: str) -> VolumeRecord | None:
        """Return the record, or None if there is none. The id is free text: it may be anything at all.

        Raises:
            StoreUnusable: the registry can't be read, or the record is damaged (it is never taken for absent).

        """

    def put(self, record: VolumeRecord) -> None:
        """Make a record durable.

        Args:
            record: of a volume whose id is any text of at most 128 bytes, as the CSI specification limits it.

        Raises:
            VolumeExists: a record with this id is there already; it is left as it is.
            CapacityExceeded: its manifest is larger than the registry can keep; nothing is written.
            StoreUnusable: the registry can't be written.

        """

    def modify(self, volume_id: str, wants: Wants) -> None:
        """Replace what a volume wants, durably; nothing else of its record changes.

        Raises:
            VolumeNotFound: there is no such volume.
            StoreUnusable: the registry can't be written, or the record is damaged.

        """

    def delete(self, volume_id: str) -> None:
        """Forget a volume; one that isn't known is no error.

        Raises:
            StoreUnusable: the registry can't be written.

        """

    def ids(self, *, after: str = "", limit: int | None = None) -> Sequence[str]:
        """Return volume ids in ascending order.

        Args:
            after: only ids greater than this one.
            limit: at most so many; None for all.

        Raises:
            StoreUnusable: the registry can't be read.

        """
