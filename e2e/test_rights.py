"""What the driver's accounts may do in the API: what is written down, and nothing else.

All of it is asked of the real API server, with the accounts' real tokens.
"""

import http.client
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.accounts import Account
from e2e.driver import NAMESPACE, Driver
from e2e.kube import Kube, namespace
from e2e.volumes import DRIVER, agent_name, model_volume
from tests.manifests import test_rights as written

FORBIDDEN, OK, CREATED = http.client.FORBIDDEN, http.client.OK, http.client.CREATED
VOLUMES = "/apis/csi-model.io/v1alpha1/modelvolumes"
NODES = "/apis/csi-model.io/v1alpha1/modelnodes"
CORE, MINE = "/api/v1", f"/api/v1/namespaces/{NAMESPACE}"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
LABEL = {"metadata": {"labels": {"e2e": "was-here"}}}
VOLUME = "m-" + "e" * 40


@pytest.fixture(scope="module")
def volume(driver: Driver) -> Iterator[dict[str, Any]]:
    """A ModelVolume that is nobody's."""
    item = model_volume(VOLUME)
    driver.kube.apply(item)
    yield item
    driver.kube.delete("modelvolume", VOLUME)


@pytest.fixture(scope="module")
def team(driver: Driver) -> Iterator[Kube]:
    """A namespace with a Secret."""
    with namespace(driver.kube, "rights") as inside:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other"}, "stringData": {"a": "b"}}
        inside.apply(secret)
        yield inside


@pytest.fixture(scope="module")
def agent(driver: Driver) -> Account:
    return Account(driver.kube, "csi-model-node")


@pytest.fixture(scope="module")
def controller(driver: Driver) -> Account:
    return Account(driver.kube, "csi-model-controller")


@pytest.fixture(scope="module")
def first(driver: Driver) -> Account:
    """The agent of node1, with the token that its pod has."""
    return Account(driver.kube, "csi-model-node", agent_name(driver.kube, "node1"))


@pytest.fixture(scope="module")
def nobody(team: Kube) -> Account:
    """An account without a binding: what everybody may do."""
    return Account(team, "default")


def event(name: str) -> dict[str, Any]:
    about = {"kind": "Pod", "namespace": "rights", "name": "none"}
    return {
        "metadata": {"name": name, "namespace": "rights"},
        "involvedObject": about,
        "reason": "Told",
        "type": "Normal",
    }


def test_an_agent_reads_one_volume_and_writes_an_event(agent: Account, volume: dict[str, Any], team: Kube) -> None:
    assert agent.asks("GET", f"{VOLUMES}/{VOLUME}") == OK
    assert agent.asks("POST", f"{CORE}/namespaces/{team.namespace}/events", event("agent")) == CREATED


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", f"{CORE}/nodes/node1"),
        ("PATCH", f"{CORE}/nodes/node1/status"),
        ("GET", f"{CORE}/nodes/node1"),
        ("GET", f"{CORE}/nodes"),
        ("GET", f"{CORE}/namespaces/rights/secrets/other"),
        ("GET", f"{CORE}/secrets"),
        ("GET", f"{MINE}/secrets"),
        ("GET", VOLUMES),
        ("GET", f"{VOLUMES}?watch=true"),
        ("POST", VOLUMES),
        ("PATCH", f"{VOLUMES}/{VOLUME}"),
        ("PUT", f"{VOLUMES}/{VOLUME}"),
        ("PATCH", f"{VOLUMES}/{VOLUME}/status"),
        ("DELETE", f"{VOLUMES}/{VOLUME}"),
        ("GET", f"{CORE}/persistentvolumeclaims"),
        ("GET", f"{CORE}/namespaces/rights/persistentvolumeclaims/some"),
        ("GET", f"{CORE}/persistentvolumes"),
        ("GET", f"{CORE}/pods"),
        ("GET", f"{MINE}/pods"),
        ("DELETE", f"{MINE}/pods/some"),
        ("GET", f"{CORE}/namespaces/rights/events"),
        ("GET", f"{MINE}/configmaps"),
        ("GET", "/apis/storage.k8s.io/v1/csinodes/node1"),
        ("PATCH", "/apis/storage.k8s.io/v1/csidrivers/csi-model.io"),
        ("GET", LEASES),
        ("POST", f"{MINE}/serviceaccounts/csi-model-controller/token"),
    ],
)
def test_an_agent_is_refused(agent: Account, volume: dict[str, Any], team: Kube, method: str, path: str) -> None:
    assert agent.asks(method, path, body(method, path, volume)) == FORBIDDEN


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{CORE}/secrets"),
        ("GET", f"{MINE}/secrets"),
        ("GET", f"{MINE}/secrets?watch=true"),
        ("PATCH", f"{CORE}/namespaces/rights/secrets/other"),
        ("POST", f"{MINE}/secrets"),
        ("PATCH", f"{MINE}/secrets/csi-model-other"),
        ("PATCH", f"{CORE}/nodes/node1/status"),
        ("POST", f"{CORE}/nodes"),
        ("DELETE", f"{CORE}/nodes/node9"),
        ("PUT", f"{VOLUMES}/{VOLUME}/status"),
        ("DELETE", VOLUMES),
        ("PATCH", f"{NODES}/node1/status"),
        ("DELETE", NODES),
        ("POST", f"{MINE}/pods"),
        ("PATCH", f"{MINE}/pods/some"),
        ("DELETE", f"{MINE}/pods/some"),
        ("POST", f"{MINE}/pods/some/exec?command=sh"),
        ("DELETE", f"{CORE}/namespaces/rights/persistentvolumeclaims/some"),
        ("GET", f"{MINE}/configmaps"),
        ("POST", f"{ADMISSION}/mutatingwebhookconfigurations"),
        ("PATCH", f"{ADMISSION}/mutatingwebhookconfigurations/another"),
        ("PATCH", f"{ADMISSION}/validatingadmissionpolicies/csi-model-node"),
        ("POST", "/apis/storage.k8s.io/v1/storageclasses"),
        ("PATCH", "/apis/storage.k8s.io/v1/csidrivers/csi-model.io"),
        ("GET", LEASES),
        ("PATCH", f"{LEASES}/csi-model-io"),
        ("GET", f"{LEASES}/another"),
        ("PUT", f"{LEASES}/another"),
        ("POST", "/apis/coordination.k8s.io/v1/namespaces/rights/leases"),
        ("POST", f"{MINE}/serviceaccounts/csi-model-controller/token"),
        ("PATCH", f"{RBAC}/clusterroles/csi-model-node"),
        ("POST", f"{RBAC}/clusterrolebindings"),
    ],
)
def test_the_controller_is_refused(
    controller: Account, volume: dict[str, Any], team: Kube, method: str, path: str
) -> None:
    assert controller.asks(method, path, body(method, path, volume)) == FORBIDDEN


def test_the_controller_gets_a_secret_that_it_is_told_of(controller: Account, team: Kube) -> None:
    assert controller.asks("GET", f"{CORE}/namespaces/{team.namespace}/secrets/other") == OK


# --- What only a policy can tell apart ---


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"metadata": {"labels": {f"{DRIVER}/m-e2e": "staged"}}}, OK),
        ({"metadata": {"labels": {f"{DRIVER}/m-e2e": None}}}, OK),
        ({"metadata": {"labels": {"e2e/mine": "yes"}}}, FORBIDDEN),
        ({"metadata": {"labels": {"kubernetes.io/hostname": None}}}, FORBIDDEN),
        ({"metadata": {"labels": {f"{DRIVER}/node": "node2"}}}, FORBIDDEN),
        ({"metadata": {"annotations": {"e2e/mine": "yes"}}}, FORBIDDEN),
        ({"spec": {"unschedulable": True}}, FORBIDDEN),
        ({"spec": {"taints": [{"key": "e2e/mine", "effect": "NoExecute"}]}}, FORBIDDEN),
    ],
)
def test_of_a_node_the_controller_changes_the_labels_of_models_alone(
    controller: Account, change: dict[str, Any], answer: int
) -> None:
    assert controller.asks("PATCH", f"{CORE}/nodes/node1", change) == answer


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({}, OK),
        ({"rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "operations": ["*"]}]}, FORBIDDEN),
        ({"namespaceSelector": {}}, FORBIDDEN),
        ({"matchConditions": None}, FORBIDDEN),
        ({"failurePolicy": "Fail"}, FORBIDDEN),
    ],
)
def test_of_its_webhook_the_controller_changes_the_authority_alone(
    controller: Account, driver: Driver, change: dict[str, Any], answer: int
) -> None:
    found = driver.kube.get("mutatingwebhookconfiguration", "csi-model")
    assert found
    [webhook] = found["webhooks"]
    path = f"{ADMISSION}/mutatingwebhookconfigurations/csi-model"
    assert controller.asks("PATCH", path, {"webhooks": [{**webhook, **change}]}) == answer
    elsewhere = {"url": "https://e2e.example.com/", "caBundle": webhook["clientConfig"]["caBundle"]}
    assert controller.asks("PATCH", path, {"webhooks": [{**webhook, "clientConfig": elsewhere}]}) == FORBIDDEN


# --- ModelNodes ---

FULL = {"status": {"store": {"availableBytes": 0}}}


def test_an_agent_reads_its_own_modelnode_and_writes_its_status(first: Account) -> None:
    assert first.asks("GET", f"{NODES}/node1") == OK
    assert first.asks("GET", f"{NODES}?fieldSelector=metadata.name=node1") == OK
    assert first.asks("PATCH", f"{NODES}/node1/status", {"status": {"version": "e2e"}}) == OK


def test_an_agent_cannot_write_another_nodes_status(first: Account, driver: Driver) -> None:
    before = driver.kube.get("modelnode", "node2")
    assert first.asks("PATCH", f"{NODES}/node2/status", FULL) == FORBIDDEN
    after = driver.kube.get("modelnode", "node2")
    assert before
    assert after
    assert after["status"]["store"] == before["status"]["store"]


def test_a_token_that_is_no_pods_writes_no_nodes_status(agent: Account) -> None:
    assert agent.asks("PATCH", f"{NODES}/node1/status", FULL) == FORBIDDEN


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", NODES),
        ("PATCH", f"{NODES}/node1"),
        ("PUT", f"{NODES}/node1"),
        ("DELETE", f"{NODES}/node1"),
    ],
)
def test_an_agent_does_no_more_to_modelnodes(first: Account, method: str, path: str) -> None:
    order = {"spec": {"wanted": [{"revision": "a" * 64, "volume": VOLUME, "urgent": True, "pin": True}]}}
    assert first.asks(method, path, None if method in ("GET", "DELETE") else order) == FORBIDDEN


@pytest.mark.parametrize("where", [NAMESPACE, "rights"])
def test_the_server_grants_an_agent_what_is_written_down(
    agent: Account, nobody: Account, team: Kube, where: str
) -> None:
    assert granted(agent, nobody, where) == everywhere(written.NODE)


def test_the_server_grants_the_controller_what_is_written_down(
    controller: Account, nobody: Account, team: Kube
) -> None:
    at_home = {(resource, verb, name) for where, resource, verb, name in written.AT_HOME | written.WEBHOOK if where}
    listed = everywhere({**written.CONTROLLER, "secrets": "get"})  # values.yaml says `secrets.access: cluster`
    listed |= {(resource, verb, name) for where, resource, verb, name in written.WEBHOOK if not where}
    assert granted(controller, nobody, team.namespace) == listed
    assert granted(controller, nobody, NAMESPACE) == listed | at_home


def body(method: str, path: str, volume: dict[str, Any]) -> dict[str, Any] | None:
    if method in ("GET", "DELETE"):
        return None
    return volume if path.startswith(VOLUMES) else LABEL


def granted(account: Account, nobody: Account, where: str) -> set[tuple[str, str, str]]:
    """Return what an account may do there and not everybody may: resource, verb and name."""
    return {(resource, verb, name) for _, resource, verb, name in account.rights(where) - nobody.rights(where)}


def everywhere(listed: dict[str, str]) -> set[tuple[str, str, str]]:
    return {(resource, verb, "") for resource, verbs in listed.items() for verb in verbs.split()}
