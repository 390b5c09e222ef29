"""What the warm-ups' tests share: one model behind a fake source, a store, and a warmer on it."""

from csi_model.core.globs import Selection
from csi_model.core.reference import Reference
from csi_model.errors import SourceDenied
from csi_model.node.warmer import Warmer
from csi_model.settings import StoreSettings, TransferSettings, WarmerSettings
from csi_model.store.store import Store
from csi_model.transfer.engine import Engine
from tests.fakes.source import FakeSource
from tests.transfer.bringing import SMALL_CHUNK, content

PATIENCE = 30.0  # seconds after which a test counts as hung
LONG = 3600.0  # seconds: a grace that doesn't end within a test
ONE_STREAM = TransferSettings(streams=1, streams_most=1, run_chunks=1, backoff_initial=0.0, backoff_max=0.0)
MODEL = {"qwen/weights": content(5 * SMALL_CHUNK), "qwen/config.json": b"{}"}


def manifest_of(source):
    return source.resolve(Reference("s3", "models", "qwen"), Selection())


class Bench:
    """A warmer with one model, and the rights of volumes to it."""

    def __init__(self, root, *, grace=LONG, engine=Engine):
        self.store = Store(StoreSettings(root, high_watermark=1.0, low_watermark=1.0))
        self.source = FakeSource(dict(MODEL))
        self.manifest = manifest_of(self.source)
        self.warmer = Warmer(self.store, engine(self.store, ONE_STREAM), WarmerSettings(unwanted_grace=grace))

    def want(self, volume="a", source=None, *, urgent=False):
        return self.warmer.want(self.manifest, volume, self.rights(source), urgent=urgent)

    def leave(self, volume="a"):
        self.warmer.leave(self.manifest.digest, volume)

    def rights(self, source=None):
        """Open a source anew, as a new call with its own secrets does."""

        def open_source():
            opened = source or self.source
            opened.closed = False
            return opened

        return open_source

    def is_staged(self):
        return self.store.tree(self.manifest.digest) is not None

    def close(self):
        self.warmer.close()
        self.store.close()


def like(source):
    """Return another way to the same model, with its own failures."""
    return FakeSource(source.files)


def denied(source, message="revoked"):
    """Return another way to the model whose rights don't suffice."""
    other = like(source)
    other.fail_next(SourceDenied(message), times=99)
    return other
