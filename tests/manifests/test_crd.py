"""ModelVolume's schema: bounded, immutable, and the one that the driver writes."""

from collections.abc import Iterator
from typing import Any

import pytest

from csi_model.cluster import model_volume
from tests.contracts.registry_contract import record
from tests.manifests.reading import one

Schema = dict[str, Any]


@pytest.fixture(scope="module")
def version() -> Schema:
    [found] = one("CustomResourceDefinition", "modelvolumes.csi-model.io")["spec"]["versions"]
    return found


@pytest.fixture(scope="module")
def spec(version: Schema) -> Schema:
    return version["schema"]["openAPIV3Schema"]["properties"]["spec"]


def within(schema: Schema, path: str = "spec") -> Iterator[tuple[str, Schema]]:
    yield path, schema
    children = dict(schema.get("properties", {}))
    children |= {key: schema[key] for key in ("items", "additionalProperties") if key in schema}
    for name, child in children.items():
        yield from within(child, f"{path}.{name}")


def test_everything_is_bounded(spec):
    bound = {"string": "maxLength", "array": "maxItems", "integer": "minimum"}
    for path, schema in within(spec):
        assert bound.get(schema["type"], "type") in schema, path
        assert "additionalProperties" not in schema or "maxProperties" in schema, path


def test_everything_but_the_claim_is_immutable(spec):
    frozen = {name for name, it in spec["properties"].items() if "x-kubernetes-validations" in it}
    assert frozen == set(spec["properties"]) - {"claim"}
    assert frozen == set(spec["required"])  # a field that can be left out could be taken away


def test_it_has_room_for_the_largest_manifest(spec):
    assert spec["properties"]["manifest"]["maxLength"] == -(-model_volume.MAX_MANIFEST // 3) * 4


def test_what_the_driver_writes_fits(spec):
    written = model_volume.render(record())["spec"]
    assert set(spec["required"]) <= set(written) <= set(spec["properties"])
    for child, of in ((written["claim"], "claim"), (written["capabilities"][0], "capabilities")):
        schema = spec["properties"][of]
        schema = schema.get("items", schema)
        assert set(schema["required"]) <= set(child) <= set(schema["properties"])


def test_status_is_a_subresource(version):
    assert version["subresources"] == {"status": {}}


def test_a_list_shows_claim_source_revision_size_and_age(version):
    columns = [it["name"] for it in version["additionalPrinterColumns"] if not it.get("priority")]
    assert columns == ["Namespace", "Claim", "Source", "Revision", "Size", "Age"]


def test_uninstalling_keeps_it():
    definition = one("CustomResourceDefinition", "modelvolumes.csi-model.io")
    assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
