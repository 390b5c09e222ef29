"""A node with everything but the kernel and the network: the agent on a real store, with fakes around it."""

from dataclasses import replace
from pathlib import Path

from csi_model.core.allow import Allowed
from csi_model.core.capability import AccessMode, Capability
from csi_model.core.fields import Auth
from csi_model.core.globs import Selection
from csi_model.core.reference import Reference
from csi_model.core.volume import VolumeRecord, VolumeSpec
from csi_model.node.agent import NodeAgent, open_store
from csi_model.node.keeper import Keeper
from csi_model.node.requests import EPHEMERAL_KEY, PublishRequest, StageRequest
from csi_model.settings import Settings, StoreSettings, WarmerSettings
from tests.fakes.mounts import FakeMounts
from tests.fakes.registry import MemoryRegistry
from tests.fakes.source import FakeSource
from tests.node.warming import LONG, ONE_STREAM, PATIENCE
from tests.transfer.bringing import SMALL_CHUNK, content

MANY = Capability(AccessMode.MULTI_NODE_READER_ONLY)
POD = Capability(AccessMode.SINGLE_NODE_SINGLE_WRITER)
OWN = Capability(AccessMode.SINGLE_NODE_WRITER)
ONCE = Capability(AccessMode.SINGLE_NODE_MULTI_WRITER)
EVERYTHING = Allowed(("s3://**",), ("default",))
WEIGHTS = content(5 * SMALL_CHUNK)
FILES = {"qwen/weights": WEIGHTS, "qwen/config.json": b"{}", "qwen/empty": b""}


class Node:
    """One node, its registry and its bucket ``s3://models``.

    Attributes:
        source: the bucket; change its files at any time.
        opened: the secrets of each time a source was opened.
        observed: how stagings ended.

    """

    def __init__(
        self, root: Path, *, mounts=None, first_answer=PATIENCE, grace=LONG, abandoned=0.0,
        claim_events=None, inline=EVERYTHING, ambient_allow=(),
    ):  # fmt: skip
        self.root = root
        self.mounts = mounts or FakeMounts()
        self.registry = MemoryRegistry()
        self.source = FakeSource(dict(FILES))
        self.opened = []
        self.source_is_down = None
        self.claim_events, self.inline = claim_events, inline
        self.observed = []
        self.settings = Settings(
            store=StoreSettings(root / "store", high_watermark=1.0, low_watermark=1.0, abandoned_hold_grace=abandoned),
            transfer=ONE_STREAM,
            warmer=WarmerSettings(first_answer=first_answer, hold=PATIENCE, unwanted_grace=grace),
            ambient_allow=ambient_allow,
        )
        self.boot()

    def boot(self):
        store = open_store(self.settings.store, self.mounts)
        self.agent = NodeAgent(
            store, self.mounts, lookup=self.registry.get, named=self.registry.get, open_source=self._open_source, settings=self.settings,
            node="node-1", claim_events=self.claim_events, inline=self.inline,
            observe=lambda outcome, _: self.observed.append(outcome),
        )  # fmt: skip
        self.store = store
        self.keeper = Keeper(store, self.mounts, self.agent.warmer, self.agent.read_ahead)

    def restart(self):
        self.agent.close()
        self.boot()

    def _open_source(self, spec, secrets):
        self.opened.append(dict(secrets))
        if self.source_is_down is not None:
            raise self.source_is_down
        self.source.closed = False
        return self.source

    # the controller's part

    def create(
        self, name="a", *, model="qwen", auth=Auth.ANONYMOUS, capability=MANY, pin=False, capacity=0, claim=None
    ):
        reference = Reference("s3", "models", model)
        manifest = self.source.resolve(reference, Selection())
        record = VolumeRecord(
            f"m-{name}",
            name,
            VolumeSpec(reference, auth=auth, pin=pin),
            (capability,),
            max(capacity, manifest.size),
            manifest,
            claim,
        )
        self.registry.put(record)
        return record

    # the orchestrator's part

    def staging_path(self, record):
        path = self.root / "plugins" / record.volume_id / "globalmount"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def target(self, record, pod="pod-1"):
        path = self.root / "pods" / pod / record.volume_id / "mount"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def stage_request(self, record, **changes):
        request = StageRequest(
            record.volume_id, self.staging_path(record), record.capabilities[0], record.spec.context()
        )
        return replace(request, **changes)

    def stage(self, record, *, timeout=PATIENCE, **changes):
        self.agent.stage(self.stage_request(record, **changes), timeout=timeout)

    def unstage(self, record):
        self.agent.unstage(record.volume_id, self.staging_path(record))

    def publish(self, record, pod="pod-1", *, read_only=False, capability=None, target=None):
        target = target or self.target(record, pod)
        capability = capability or record.capabilities[0]
        staging, context = self.staging_path(record), record.spec.context()
        self.agent.publish(PublishRequest(record.volume_id, staging, target, capability, read_only, context))
        return target

    def unpublish(self, record, pod="pod-1", *, target=None):
        self.agent.unpublish(record.volume_id, target or self.target(record, pod))

    # a pod's own volume

    def inline_request(self, volume_id="csi-1", *, secrets=None, target=None, **attributes):
        target = target or self.inline_target(volume_id)
        context = {"source": "s3://models/qwen", "auth": "anonymous", EPHEMERAL_KEY: "true", **attributes}
        return PublishRequest(volume_id, None, target, OWN, False, context, secrets or {})

    def inline_target(self, volume_id="csi-1"):
        """Return the target, in the directory that kubelet makes for it."""
        path = self.root / "pods" / "pod-1" / volume_id / "mount"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def publish_inline(self, volume_id="csi-1", *, timeout=PATIENCE, **how):
        request = self.inline_request(volume_id, **how)
        self.agent.publish_inline(request, timeout=timeout)
        return request.target_path

    def unpublish_inline(self, volume_id="csi-1"):
        self.agent.unpublish(volume_id, self.root / "pods" / "pod-1" / volume_id / "mount")

    # what is true

    def hold(self, record):
        return self.store.holds.get(record.volume_id)

    def tree(self, record):
        return self.store.tree(record.manifest.digest)

    def warmup(self, record):
        return self.agent.warmer.find(record.manifest.digest)

    def files(self, record):
        root = self.tree(record)
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def lose(self, record):
        """Lose a staged copy, as damage does."""
        self.store.retention.condemn(record.manifest.digest, self.store.trees.index(record.manifest.digest).values())

    def close(self):
        self.agent.close()
