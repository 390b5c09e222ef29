"""ModelNode's schema: bounded, and the one that is written; and the policy that ties an agent to its node."""

from typing import Any

import pytest

from csi_model.cluster import model_node
from csi_model.cluster.facts import Guarded
from csi_model.core.copies import Copy, Guard, NodeReport, Wanted
from csi_model.core.warmth import Warmth
from tests.manifests.reading import one

Schema = dict[str, Any]
KINDS = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
A = "a" * 64
REPORT = NodeReport(9, 5, 3, 1, (Copy(A, Warmth.COLD, 7, released=1.5, error="no route"),))
WRITTEN = {
    "spec": model_node.render_spec([Wanted(A, "m-1")], {A: Guarded(Guard.KEEP, 0.0)}),
    "status": model_node.render_status(REPORT, generation=1, now=0.0, version="0.1.0"),
}


@pytest.fixture(scope="module")
def version() -> Schema:
    [found] = one("CustomResourceDefinition", "modelnodes.csi-model.io")["spec"]["versions"]
    return found


@pytest.fixture(scope="module")
def policy() -> Schema:
    return one("ValidatingAdmissionPolicy", "csi-model-node")["spec"]


def properties(version: Schema) -> Schema:
    return version["schema"]["openAPIV3Schema"]["properties"]


def check(schema: Schema, value: Any, path: str) -> None:
    assert type(value) is KINDS[schema["type"]], path
    assert value in schema.get("enum", [value]), path
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value) <= set(schema["properties"]), path
        for name, child in value.items():
            check(schema["properties"][name], child, f"{path}.{name}")
    for child in value if isinstance(value, list) else ():
        check(schema["items"], child, path)


def within(schema: Schema, path: str):
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from within(child, f"{path}.{name}")
    if "items" in schema:
        yield from within(schema["items"], f"{path}[]")


@pytest.mark.parametrize("part", ["spec", "status"])
def test_everything_is_bounded(version, part):
    bound = {"string": "maxLength", "array": "maxItems", "integer": "minimum"}
    for path, schema in within(properties(version)[part], part):
        assert bound.get(schema["type"], "type") in schema, path


@pytest.mark.parametrize("part", ["spec", "status"])
def test_what_is_written_fits(version, part):
    check(properties(version)[part], WRITTEN[part], part)


def test_lists_have_room_for_as_much_as_is_written(version):
    lists = {
        path.rpartition(".")[2]: schema["maxItems"]
        for part in ("spec", "status")
        for path, schema in within(properties(version)[part], part)
        if schema["type"] == "array"
    }
    most = {"wanted": model_node.MAX_WANTED, "guarded": model_node.MAX_GUARDED, "copies": model_node.MAX_COPIES}
    assert {name: lists[name] for name in most} == most


def test_a_list_shows_disk_copies_and_whether_the_agent_serves(version):
    columns = [it["name"] for it in version["additionalPrinterColumns"] if not it.get("priority")]
    assert columns == ["Capacity", "Used", "Staged", "Warming", "Ready", "Heartbeat", "Age"]


def test_controller_and_agent_write_different_halves(version):
    assert version["subresources"] == {"status": {}}


def test_uninstalling_keeps_it():
    definition = one("CustomResourceDefinition", "modelnodes.csi-model.io")
    assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_every_write_of_an_agent_to_modelnodes_is_looked_at(policy):
    [rule] = policy["matchConstraints"]["resourceRules"]
    assert rule["resources"] == ["modelnodes", "modelnodes/status"]
    assert set(rule["operations"]) == {"CREATE", "UPDATE", "DELETE"}
    [condition] = policy["matchConditions"]
    assert condition["expression"] == 'request.userInfo.username == "system:serviceaccount:csi-model:csi-model-node"'


def test_what_cannot_be_looked_at_is_refused(policy):
    assert policy["failurePolicy"] == "Fail"
    binding = one("ValidatingAdmissionPolicyBinding", "csi-model-node")["spec"]
    assert binding == {"policyName": "csi-model-node", "validationActions": ["Deny"]}
