"""Engine: brings the missing bytes of a Revision from a Source into the Store, pass by pass until none are missing."""

import threading

from csi_model.core import treehash
from csi_model.core.manifest import Manifest
from csi_model.settings import TransferSettings
from csi_model.sources.base import Source
from csi_model.store.base import StagingStore
from csi_model.transfer.buffers import Buffers
from csi_model.transfer.meter import Meter
from csi_model.transfer.plan import Plan
from csi_model.transfer.transfer import Transfer

_WAIT_FOR_WRITERS = 0.5  # seconds between two looks at what another warm-up is bringing


class Engine:
    """Transfers of one node, sharing streams and memory.

    Args:
        store: where bytes go.
        settings: how many, how patiently.

    """

    def __init__(self, store: StagingStore, settings: TransferSettings) -> None:
        self.store = store
        self.settings = settings
        self.buffers = Buffers(settings.streams + settings.spare_buffers, treehash.CHUNK)

    def bring(self, manifest: Manifest, source: Source, meter: Meter, stop: threading.Event) -> None:
        """Fetch, check and commit every entry that isn't here.

        Large entries that another warm-up is writing just now are left to it, and looked for again afterwards.

        Args:
            manifest: the Revision; the caller keeps it ``wanted`` in the store.
            source: where its Origin is; closed early if the transfer is to end early.
            meter: told what lands.
            stop: set it to stop soon; what was written stays.

        Raises:
            Stopped: ``stop`` was set.
            SourceError: the source failed for good.
            StoreFull, StoreUnusable: the disk did.

        """
        while True:
            plan = Plan.of(manifest, lambda entry: self.store.find(manifest.origin, entry) is not None)
            meter.found(plan.present)
            if not plan.missing:
                return
            try:
                finished = self._transfer(plan, source, meter, stop).run()
            finally:
                self.buffers.trim()
            if not finished:
                meter.note = "another volume is bringing the same files"
                self.store.wait_for_writers(_WAIT_FOR_WRITERS)
                meter.note = ""

    def _transfer(self, plan: Plan, source: Source, meter: Meter, stop: threading.Event) -> Transfer:
        return Transfer(
            plan, source, store=self.store, settings=self.settings, buffers=self.buffers, meter=meter, stop=stop
        )
