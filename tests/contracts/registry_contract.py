"""What every VolumeRegistry promises. A subclass gives a fixture ``registry``, empty."""

import threading
from dataclasses import replace

import pytest

from csi_model.core.capability import AccessMode, Capability
from csi_model.core.checksum import Algorithm, Checksum
from csi_model.core.fields import Auth
from csi_model.core.manifest import Entry, Manifest
from csi_model.core.placement import ALL, Placement, Wants
from csi_model.core.reference import Reference
from csi_model.core.volume import Claim, VolumeRecord, VolumeSpec
from csi_model.errors import VolumeExists, VolumeNotFound
from csi_model.volumes.registry import VolumeRegistry

WEIRD_IDS = [
    "../../etc/passwd", "/", ".", "..", "a/b", "\0", "a\nb", " ", "*", "Modèle ✓ 模型", "\ud800", "x" * 128,
]  # fmt: skip
"""Ids of at most 128 bytes, as the CSI specification has them."""


def record(volume_id: str = "m-1", **changes) -> VolumeRecord:
    spec = VolumeSpec(
        Reference.parse("s3://models/qwen"), endpoint="https://minio.example.com", auth=Auth.AMBIENT,
        include=("*.safetensors", "a/**"), placement=Placement.REQUIRE, warm_replicas=3,
        warm_node_selector=(("gpu", "h100"),), pin=True, from_claim=True,
    )  # fmt: skip
    capabilities = (
        Capability(AccessMode.MULTI_NODE_READER_ONLY, fs_type="ext4", mount_flags=("noexec", "ro")),
        Capability(AccessMode.SINGLE_NODE_WRITER),
    )
    checksum = Checksum(Algorithm.CRC32, "0a0b0c0d", ((5, 2), (1, 1)))
    entries = [Entry("a", 11, "qwen/a", 'etag:"x"\n', checksum), Entry("b/ü", 0, "qwen/b/ü", "version:1")]
    made = VolumeRecord(volume_id, "pvc-1", spec, capabilities, 2**40, Manifest.of("s3|models", entries))
    made = replace(made, claim=Claim("team", "qwen", "5f0c2b3e-0000-4000-8000-000000000001"))
    return replace(made, **changes)


class RegistryContract:
    def test_a_record_comes_back_equal(self, registry: VolumeRegistry):
        registry.put(record())
        assert registry.get("m-1") == record()

    @pytest.mark.parametrize("claim", [None, Claim("team", "qwen")])
    def test_a_record_need_not_know_its_claim(self, registry: VolumeRegistry, claim: Claim | None):
        registry.put(record(claim=claim))
        assert registry.get("m-1") == record(claim=claim)

    def test_what_was_never_put_is_none(self, registry: VolumeRegistry):
        registry.put(record())
        assert registry.get("m-2") is None

    @pytest.mark.parametrize("volume_id", ["", "y" * 100_000, *WEIRD_IDS], ids=lambda text: repr(text)[:40])
    def test_any_text_may_be_asked_for(self, registry: VolumeRegistry, volume_id: str):
        assert registry.get(volume_id) is None
        registry.delete(volume_id)

    @pytest.mark.parametrize("volume_id", WEIRD_IDS, ids=repr)
    def test_any_text_can_be_an_id(self, registry: VolumeRegistry, volume_id: str):
        registry.put(record(volume_id))
        assert registry.get(volume_id) == record(volume_id)
        assert list(registry.ids()) == [volume_id]
        registry.delete(volume_id)
        assert registry.get(volume_id) is None
        assert not registry.ids()

    def test_a_second_put_is_refused_and_changes_nothing(self, registry: VolumeRegistry):
        registry.put(record())
        with pytest.raises(VolumeExists):
            registry.put(record(capacity=7))
        assert registry.get("m-1") == record()

    def test_what_a_volume_wants_is_replaced_and_nothing_else(self, registry: VolumeRegistry):
        registry.put(record())
        registry.put(record("m-2"))
        for wants in (Wants(2, (("gpu", "h100"),), pin=False), Wants(ALL), record().spec.wants):
            registry.modify("m-1", wants)
            found = registry.get("m-1")
            assert found is not None
            assert found.wanted == wants
            assert replace(found, wants=None) == record() == replace(record("m-2"), volume_id="m-1")
        assert registry.get("m-1") == record()
        assert registry.get("m-2") == record("m-2")

    @pytest.mark.parametrize("volume_id", ["m-2", "", "y" * 100_000, *WEIRD_IDS], ids=lambda text: repr(text)[:40])
    def test_what_is_not_there_cannot_be_changed(self, registry: VolumeRegistry, volume_id: str):
        registry.put(record())
        with pytest.raises(VolumeNotFound):
            registry.modify(volume_id, Wants(1))
        assert list(registry.ids()) == ["m-1"]

    def test_a_record_that_is_made_anew_wants_what_it_says(self, registry: VolumeRegistry):
        registry.put(record())
        registry.modify("m-1", Wants(7))
        registry.delete("m-1")
        registry.put(record())
        assert registry.get("m-1") == record()

    def test_a_deleted_record_is_gone_and_can_be_made_anew(self, registry: VolumeRegistry):
        registry.put(record())
        registry.delete("m-1")
        registry.delete("m-1")
        assert registry.get("m-1") is None
        registry.put(record(capacity=7))
        assert registry.get("m-1") == record(capacity=7)

    def test_ids_are_in_ascending_order(self, registry: VolumeRegistry):
        for volume_id in WEIRD_IDS:
            registry.put(record(volume_id))
        assert list(registry.ids()) == sorted(WEIRD_IDS)

    def test_ids_go_on_after_any_text(self, registry: VolumeRegistry):
        for volume_id in "acd":
            registry.put(record(volume_id))
        assert list(registry.ids(after="a")) == ["c", "d"]
        assert list(registry.ids(after="b")) == ["c", "d"]
        assert list(registry.ids(after="b", limit=1)) == ["c"]
        assert not registry.ids(after="d")
        assert list(registry.ids(limit=0)) == []

    def test_of_many_writers_one_wins(self, registry: VolumeRegistry):
        won: list[int] = []

        def write(capacity: int) -> None:
            try:
                registry.put(record(capacity=capacity))
            except VolumeExists:
                return
            won.append(capacity)

        threads = [threading.Thread(target=write, args=(capacity,)) for capacity in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert registry.get("m-1") == record(capacity=won[0])
