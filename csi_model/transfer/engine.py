"""Engine: brings the missing bytes of a Revision from a Source into the Store, pass by pass until none are missing."""

import threading
from collections.abc import Callable

from csi_model.core.manifest import Manifest
from csi_model.settings import TransferSettings
from csi_model.sources.base import Source
from csi_model.store.base import StagingStore
from csi_model.transfer.keeping import Keeping, Room, no_room
from csi_model.transfer.meter import Meter
from csi_model.transfer.plan import Plan
from csi_model.transfer.streams import Streams
from csi_model.transfer.transfer import Transfer

_WAIT_FOR_WRITERS = 0.5  # seconds between two looks at what another warm-up is bringing


class Engine:
    """Transfers of one node, sharing streams and memory.

    Args:
        store: where bytes go.
        settings: how many, how patiently.
        room: memory that the page cache may be filled with; by default none.

    """

    def __init__(self, store: StagingStore, settings: TransferSettings, room: Room = no_room) -> None:
        self.store = store
        self.settings = settings
        self.streams = Streams(settings)
        self.keeping = Keeping(room)

    def bring(
        self,
        manifest: Manifest,
        source: Source,
        meter: Meter,
        stop: threading.Event,
        urgent: Callable[[], bool] = lambda: False,
    ) -> None:
        """Fetch, check and commit every entry that isn't here.

        Large entries that another warm-up is writing just now are left to it, and looked for again afterwards.

        Args:
            manifest: the Revision; the caller keeps it ``wanted`` in the store.
            source: where its Origin is; closed early if the transfer is to end early.
            meter: told what lands.
            stop: set it to stop soon; what was written stays.
            urgent: whether a pod waits for it; asked again and again. Then it gets most of the streams, and what it
                writes stays in memory while there is room.

        Raises:
            Stopped: ``stop`` was set.
            SourceError: the source failed for good.
            StoreFull, StoreUnusable: the disk did.

        """
        while True:
            plan = Plan.of(manifest, self.store.present(manifest))
            meter.found(plan.present)
            if not plan.missing:
                return
            with self.keeping.account() as account:
                finished = Transfer(
                    plan, source, store=self.store, settings=self.settings, streams=self.streams, meter=meter,
                    urgent=urgent, account=account, stop=stop,
                ).run()  # fmt: skip
            if finished:
                return  # what is lost meanwhile is missed when the tree is assembled: no second look at every file
            meter.note = "another volume is bringing the same files"
            self.store.wait_for_writers(_WAIT_FOR_WRITERS)
            meter.note = ""
