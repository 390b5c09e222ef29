"""ModelVolume's schema: bounded, immutable, and the one that the driver writes."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.cluster import model_volume
from csi_model.core.placement import ALL, MAX_REPLICAS, Placement, Wants
from csi_model.core.records import wants_to_json
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


@pytest.fixture(scope="module")
def status(version: Schema) -> Schema:
    return version["schema"]["openAPIV3Schema"]["properties"]["status"]


def within(schema: Schema, path: str = "spec") -> Iterator[tuple[str, Schema]]:
    yield path, schema
    children = dict(schema.get("properties", {}))
    children |= {key: schema[key] for key in ("items", "additionalProperties") if key in schema}
    for name, child in children.items():
        yield from within(child, f"{path}.{name}")


def test_everything_is_bounded(spec, status):
    bound = {"string": ("maxLength", "enum", "format"), "array": ("maxItems",), "integer": ("minimum",)}
    for path, schema in [*within(spec), *within(status, "status")]:
        assert any(name in schema for name in bound.get(schema["type"], ("type",))), path
        assert "additionalProperties" not in schema or "maxProperties" in schema, path


def test_everything_but_the_claim_and_what_is_wanted_is_immutable(spec):
    frozen = {name for name, it in spec["properties"].items() if "x-kubernetes-validations" in it}
    assert frozen == set(spec["properties"]) - {"claim", "wants"}
    # a field that can be left out could be taken away
    assert frozen - set(spec["required"]) == {"placement"}
    assert spec["x-kubernetes-validations"][0]["rule"] == "has(self.placement) == has(oldSelf.placement)"


def test_objects_from_before_placement_was_written_are_still_valid(spec):
    assert not {"placement", "wants"} & set(spec["required"])
    assert "required" not in spec["properties"]["wants"]


@given(st.integers(0, MAX_REPLICAS) | st.just(ALL), st.dictionaries(st.sampled_from(["a", "x.io/b"]), st.just("c")))
def test_whatever_can_be_wanted_fits(spec, replicas, labels):
    written = wants_to_json(Wants(replicas, tuple(sorted(labels.items()))))
    schemas = spec["properties"]["wants"]["properties"]
    assert set(written) == set(schemas)
    for name in ("replicas", "nodeSelector"):
        assert len(written[name]) <= schemas[name]["maxLength"]
        assert re.search(schemas[name]["pattern"], written[name])


@pytest.mark.parametrize("text", ["gpu", "=a", "a=b c=d", "a=b,", "a=b;c=d", "a in (b)"])
def test_a_selector_that_is_none_is_refused(spec, text):
    assert not re.search(spec["properties"]["wants"]["properties"]["nodeSelector"]["pattern"], text)


def test_every_placement_is_known(spec):
    assert spec["properties"]["placement"]["enum"] == list(Placement)


def test_it_has_room_for_the_largest_manifest(spec):
    assert spec["properties"]["manifest"]["maxLength"] == -(-model_volume.MAX_MANIFEST // 3) * 4


def test_what_the_driver_writes_fits(spec):
    written = model_volume.render(record())["spec"]
    assert set(spec["required"]) <= set(written) <= set(spec["properties"])
    assert set(written["wants"]) == set(spec["properties"]["wants"]["properties"])
    for child, of in ((written["claim"], "claim"), (written["capabilities"][0], "capabilities")):
        schema = spec["properties"][of]
        schema = schema.get("items", schema)
        assert set(schema["required"]) <= set(child) <= set(schema["properties"])


def test_status_is_a_subresource(version):
    assert version["subresources"] == {"status": {}}


def test_a_list_shows_what_a_volume_is_and_how_far_it_is(version):
    columns = [it["name"] for it in version["additionalPrinterColumns"] if not it.get("priority")]
    assert columns == ["Namespace", "Claim", "Source", "Revision", "Size", "Placement", "Nodes", "Progress", "Age"]


def test_uninstalling_keeps_it():
    definition = one("CustomResourceDefinition", "modelvolumes.csi-model.io")
    assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize("name", ["modelvolumes.csi-model.io", "modelnodes.csi-model.io"])
def test_columns_have_only_fields_that_kubernetes_knows(name):
    # A comma in a description that isn't quoted begins another field; kubectl refuses that, helm doesn't
    [version] = one("CustomResourceDefinition", name)["spec"]["versions"]
    for column in version["additionalPrinterColumns"]:
        assert column.keys() <= {"name", "type", "format", "jsonPath", "description", "priority"}
