"""Random lives of a store: whatever comes in whatever order, a held tree stays and a visible one is whole."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from csi_model.core.manifest import Manifest
from csi_model.core.treehash import digest_of
from tests.store.faults import crashing
from tests.store.shelf import ORIGIN, Shelf, entry, hold_of, is_whole, model, put, stage

_SHARED = entry("shared.bin", 9_000)
MODELS = [
    Manifest.of(ORIGIN, [_SHARED, entry("own.bin", 5_000, key="a"), entry("c.json", 90)]),
    Manifest.of(ORIGIN, [_SHARED, entry("own.bin", 5_000, key="b"), entry("none", 0)]),
    model("apart", sizes=(6_000, 40)),
]
which = st.sampled_from(MODELS)
volumes = st.sampled_from(["pvc-1", "pvc-2"])
steps = st.integers(0, 60)


class Lives(RuleBasedStateMachine):
    """Everything that a node does to its store, with crashes in between."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.shelf = Shelf(self.root / "store")
        self.held = {}  # volume → manifest: what was promised
        self.kept = set()  # digests of trees that were seen while they were held

    @property
    def store(self):
        return self.shelf.store

    @rule(manifest=which)
    def stage(self, manifest):
        with self.store.wanted(manifest):
            stage(self.store, manifest)

    @rule(manifest=which, volume=volumes)
    def hold(self, manifest, volume):
        self.store.save_manifest(manifest)
        self.store.holds.put(hold_of(manifest, volume))
        self.held[volume] = manifest

    @rule(volume=volumes)
    def release(self, volume):
        self.store.holds.drop(volume)
        self.held.pop(volume, None)

    @rule(manifest=which)
    def bring_a_part(self, manifest):
        put(self.store, manifest.entries[-1])

    @rule()
    def make_room(self):
        self.store.retention.make_room(lambda: 1, partly=True)

    @rule(manifest=which)
    def evict(self, manifest):
        self.store.retention.evict(manifest.digest)

    @rule()
    def tidy(self):
        self.store.tidy()

    @rule(manifest=which, at=steps)
    def crash_while_staging(self, manifest, at):
        crashing(lambda: stage(self.store, manifest), at)
        self.shelf.reopen()

    @rule(at=steps)
    def crash_while_making_room(self, at):
        crashing(lambda: self.store.retention.make_room(lambda: 1, partly=True), at)
        self.shelf.reopen()

    @rule(at=steps)
    def crash_while_opening(self, at):
        crashing(self.shelf.reopen, at)
        self.shelf.reopen()

    @invariant()
    def a_visible_tree_is_whole(self):
        for tree in self.store.trees.all():
            assert is_whole(self.store, next(m for m in MODELS if m.digest == tree.manifest))

    @invariant()
    def a_blob_has_the_bytes_of_its_name(self):
        for directory in self.store.layout.blobs.iterdir():
            for path in directory.iterdir():
                assert path.suffix == ".chunks" or digest_of(path.read_bytes()) == directory.name + path.name

    @invariant()
    def a_held_tree_stays(self):
        held = {manifest.digest for manifest in self.held.values()}
        assert self.store.holds.held() == held
        trees = {tree.manifest for tree in self.store.trees.all()}
        assert self.kept & held <= trees
        self.kept = held & trees

    def teardown(self):
        self.store.close()
        shutil.rmtree(self.root)


@pytest.mark.usefixtures("small_chunks")
def test_no_life_loses_a_held_tree_or_shows_half_of_one():
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Lives, settings=settings(max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=checks)
    )
