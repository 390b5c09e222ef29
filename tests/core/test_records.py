import json
from dataclasses import replace

import pytest

from csi_model.core.manifest import Manifest
from csi_model.core.placement import ALL, Wants
from csi_model.core.records import from_json, to_json
from csi_model.errors import StoreUnusable
from tests.contracts.registry_contract import record


def document(**changes):
    return json.loads(json.dumps({**to_json(record()), **changes}))


def test_a_record_survives_json():
    assert from_json(document(), record().manifest) == record()


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"context": {"schema": "99", "source": "s3://a/b"}},
        {"context": {}},
        {"context": None},
        {"capabilities": [{"mode": "NONE"}]},
        {"capabilities": 7},
        {"manifest": "0" * 64},
        {"claim": {"name": "x"}},
        {"claim": 7},
        {"wants": 7},
        {"wants": {"replicas": 2}},
        {"wants": {"replicas": "two"}},
        {"wants": {"pin": "true"}},
        {"wants": {"nodeSelector": "a=b,a=c"}},
        {"claim": {"namespace": "a", "name": "b", "uid": 7}},
        {"capacity": True},
        {"from_claim": 1},
        {"volume_id": 7},
        {"name": None},
        {"capabilities": [{"mode": "SINGLE_NODE_WRITER", "block": 0, "fs_type": "", "mount_flags": []}]},
    ],
)
def test_what_is_not_ours_is_unusable(changes):
    with pytest.raises(StoreUnusable):
        from_json(document(**changes), record().manifest)


def test_what_a_volume_wants_now_survives_json():
    changed = record().wanting(Wants(ALL, (("a", "b"),)))
    written = json.loads(json.dumps(to_json(changed)))
    assert written["wants"] == {"replicas": "all", "nodeSelector": "a=b", "pin": False}
    assert from_json(written, record().manifest) == changed


def test_a_record_that_wants_what_it_was_made_with_says_nothing_of_it():
    assert "wants" not in to_json(record().wanting(record().spec.wants))
    assert (
        from_json(document(wants={"replicas": "3", "nodeSelector": "gpu=h100", "pin": True}), record().manifest)
        == record()
    )


def test_a_missing_field_is_unusable():
    for name in document().keys() - {"claim"}:
        with pytest.raises(StoreUnusable):
            from_json({key: value for key, value in document().items() if key != name}, record().manifest)


def test_another_manifest_is_unusable():
    with pytest.raises(StoreUnusable, match="manifest"):
        from_json(document(), Manifest.of("elsewhere", record().manifest.entries))


def test_a_record_from_before_claims_were_recorded_has_none():
    old = {key: value for key, value in document().items() if key != "claim"}
    assert from_json(old, record().manifest) == replace(record(), claim=None)
