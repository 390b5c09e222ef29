import json

import pytest

from csi_model.core.manifest import Manifest
from csi_model.errors import StoreUnusable
from csi_model.volumes.records import from_json, to_json
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
    ],
)
def test_what_is_not_ours_is_unusable(changes):
    with pytest.raises(StoreUnusable):
        from_json(document(**changes), record().manifest)


def test_a_missing_field_is_unusable():
    for name in document():
        with pytest.raises(StoreUnusable):
            from_json({key: value for key, value in document().items() if key != name}, record().manifest)


def test_another_manifest_is_unusable():
    with pytest.raises(StoreUnusable, match="manifest"):
        from_json(document(), Manifest.of("elsewhere", record().manifest.entries))
