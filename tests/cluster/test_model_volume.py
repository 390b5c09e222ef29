import base64
import contextlib
import json
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.cluster import model_volume
from csi_model.cluster.model_volume import HANDLE, PERSISTENT_VOLUME, PERSISTENT_VOLUME_UID, parse, render, volume_id_in
from csi_model.core.manifest import Entry, Manifest
from csi_model.core.naming import volume_id_of
from csi_model.core.placement import ALL, Wants
from csi_model.core.volume import Claim
from csi_model.errors import CapacityExceeded, StoreUnusable
from tests.contracts.registry_contract import WEIRD_IDS, record

OURS = volume_id_of("pvc-1")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def item(**spec):
    made = json.loads(json.dumps(render(record())))
    return {**made, "spec": {**made["spec"], **spec}}


def packed(data):
    return base64.b64encode(zlib.compress(data)).decode()


def test_it_says_to_people_what_the_volume_is():
    spec = render(record())["spec"]
    assert (spec["source"], spec["size"], spec["files"], spec["bytes"]) == ("s3://models/qwen", "11 B", 2, 11)
    assert spec["claim"] == {"namespace": "team", "name": "qwen", "uid": "5f0c2b3e-0000-4000-8000-000000000001"}
    assert spec["revision"] == record().manifest.digest
    assert "revision" not in spec["context"]


def test_it_says_how_pods_are_steered_and_what_is_wanted():
    spec = render(record())["spec"]
    assert spec["placement"] == spec["context"]["placement"] == "require"
    assert spec["wants"] == {"replicas": "3", "nodeSelector": "gpu=h100", "pin": True}
    assert render(record(wants=Wants(ALL)))["spec"]["wants"] == {"replicas": "all", "nodeSelector": "", "pin": False}


def test_an_object_from_before_they_were_written_is_what_its_context_says():
    old = item()
    del old["spec"]["placement"], old["spec"]["wants"]
    assert parse(old, "m-1") == record()


def test_what_is_wanted_may_be_edited():
    edited = item(wants={"replicas": "all", "nodeSelector": " zone=a, gpu=h100"})
    assert parse(edited, "m-1") == record(wants=Wants(ALL, (("gpu", "h100"), ("zone", "a"))))


@pytest.mark.parametrize(
    "wants", [{"replicas": 2}, {"replicas": "-1"}, {"nodeSelector": "a=b,a=c"}, {"pin": 1}, [], "x"]
)
def test_a_slip_there_leaves_the_volume_as_it_was_made(wants):
    assert parse(item(wants=wants), "m-1") == record()


@given(JSON)
def test_what_is_wanted_never_makes_a_volume_unusable(wants):
    assert parse(item(wants=wants), "m-1").spec == record().spec


def test_a_claim_that_nobody_knows_is_left_out():
    assert "claim" not in render(record(claim=None))["spec"]
    assert render(record(claim=Claim("a", "b")))["spec"]["claim"] == {"namespace": "a", "name": "b"}


def test_the_object_of_our_own_id_has_its_name():
    assert render(record(OURS))["metadata"] == {"name": OURS, "annotations": {}}


@pytest.mark.parametrize("volume_id", WEIRD_IDS)
def test_the_object_of_another_id_has_the_name_of_its_hash(volume_id):
    metadata = render(record(volume_id))["metadata"]
    assert metadata["name"].startswith("s-")
    assert len(metadata["name"]) == 42
    assert volume_id_in(json.loads(json.dumps(metadata))) == volume_id


@given(st.text())
def test_every_id_has_one_name_and_is_told_by_the_metadata(volume_id):
    assert volume_id_in(render(record(volume_id))["metadata"]) == volume_id


@given(st.characters(), st.sampled_from(["json:", 'json:"x"', "json:7", ""]))
def test_ids_that_look_escaped_come_back(char, prefix):
    assert parse(render(record(prefix + char)), prefix + char).volume_id == prefix + char


@pytest.mark.parametrize(
    "metadata",
    [
        {}, {"name": 7}, {"name": "a"}, {"name": OURS, "annotations": 7}, {"name": OURS, "annotations": {HANDLE: "x"}},
        {"name": "s-1", "annotations": {HANDLE: 7}}, {"name": "s-1", "annotations": {HANDLE: "json:{"}},
        {"name": "s-1", "annotations": {HANDLE: "json:7"}}, {"name": OURS, "annotations": {HANDLE: None}},
    ],
)  # fmt: skip
def test_metadata_that_lies_is_nobodys(metadata):
    assert volume_id_in(metadata) is None


def test_it_says_from_which_persistent_volume_it_was_made():
    annotations = render(record(), persistent_volume="pv", uid="u")["metadata"]["annotations"]
    assert (annotations[PERSISTENT_VOLUME], annotations[PERSISTENT_VOLUME_UID]) == ("pv", "u")


def test_a_manifest_that_is_too_large_is_refused_before_it_is_sent():
    entries = [Entry(f"{n:064x}", 1, f"{n * 2**200:064x}", f"etag:{hash(n * 'x')}") for n in range(60_000)]
    with pytest.raises(CapacityExceeded, match=r"60000 files of s3://models/qwen takes \d{6,} bytes.*room for 524288"):
        render(record(manifest=Manifest.of("s3|models", entries)))


def test_a_manifest_that_would_not_be_unpacked_is_refused(monkeypatch):
    monkeypatch.setattr(model_volume, "MAX_CANONICAL", 100)
    with pytest.raises(CapacityExceeded, match="choose files"):
        render(record())


@pytest.mark.parametrize(
    "manifest",
    [
        "", "no base64!", "AAAA", packed(b"{}"), packed(b""), packed(b'{"entries":[],"origin":"x","version":1}'),
        base64.b64encode(zlib.compress(record().manifest.canonical)[:-3]).decode(),
        base64.b64encode(zlib.compress(record().manifest.canonical) + b"more").decode(),
        packed(record().manifest.canonical + b" "), "A" * 2_000_000, 7, None, [],
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_never_absent(manifest):
    with pytest.raises(StoreUnusable):
        parse(item(manifest=manifest), "m-1")


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(model_volume, "MAX_CANONICAL", 1_000_000)
    bomb = zlib.compress(b'"' + b" " * 100_000_000)
    assert len(bomb) < 100_000
    with pytest.raises(StoreUnusable, match="doesn't end"):
        parse(item(manifest=base64.b64encode(bomb).decode()), "m-1")


def test_the_object_of_another_volume_is_refused():
    with pytest.raises(StoreUnusable, match="that of volume 'm-1'"):
        parse(item(), "m-2")


@pytest.mark.parametrize(
    "name",
    sorted(
        item()["spec"].keys() - {"claim", "source", "bytes", "files", "size", "shortRevision", "placement", "wants"}
    ),
)
def test_a_missing_field_is_damage(name):
    damaged = item()
    del damaged["spec"][name]
    with pytest.raises(StoreUnusable):
        parse(damaged, "m-1")


def test_what_the_schema_makes_optional_has_a_default():
    (capability,) = parse(item(capabilities=[{"mode": "MULTI_NODE_READER_ONLY"}]), "m-1").capabilities
    assert (capability.block, capability.fs_type, capability.mount_flags) == (False, "", ())


@given(st.sampled_from(sorted(item()["spec"])), JSON)
def test_any_value_of_a_field_is_taken_or_damage(name, value):
    with contextlib.suppress(StoreUnusable):
        parse(item(**{name: value}), "m-1")


@given(JSON)
def test_any_object_is_damage(value):
    for odd in ({"spec": value}, {"metadata": value}):
        with pytest.raises(StoreUnusable):
            parse(odd, "m-1")


def test_records_are_equal_after_the_way_through_json():
    made = replace(record(), capacity=5)
    assert parse(json.loads(json.dumps(render(made))), "m-1") == made
