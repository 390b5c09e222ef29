"""The admission webhook's registration: it can't harm anybody, and leads to what serves it."""

import yaml

from csi_model.cluster.webhook import certificates, renewing, serving
from tests.manifests.reading import CHART, arguments, containers, installed, one

CONFIGURATION = one("MutatingWebhookConfiguration", "csi-model")
[WEBHOOK] = CONFIGURATION["webhooks"]
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())["webhook"]


def test_no_pod_fails_or_waits_long_because_of_it():
    assert (WEBHOOK["failurePolicy"], WEBHOOK["timeoutSeconds"], WEBHOOK["sideEffects"]) == ("Ignore", 3, "None")


def test_it_is_asked_when_pods_are_made_and_again_when_others_changed_them():
    [rule] = WEBHOOK["rules"]
    assert (rule["resources"], rule["operations"]) == (["pods"], ["CREATE"])
    assert WEBHOOK["reinvocationPolicy"] == "IfNeeded"


def test_it_leaves_the_drivers_and_the_systems_pods_alone():
    excluded, disabled = WEBHOOK["namespaceSelector"]["matchExpressions"]
    assert set(excluded["values"]) == {"csi-model", "kube-system"}
    assert disabled == {"key": "csi-model.io/webhook", "operator": "NotIn", "values": ["disabled"]}
    assert WEBHOOK["objectSelector"]["matchExpressions"] == [disabled]


def test_only_pods_with_claims_are_sent():
    [claims, node] = [condition["expression"] for condition in WEBHOOK["matchConditions"]]
    assert "persistentVolumeClaim" in claims
    assert "nodeName" in node


def test_it_leads_to_the_port_that_is_served():
    service = WEBHOOK["clientConfig"]["service"]
    assert service == {"name": certificates.SERVICE, "namespace": "csi-model", "path": serving.PATH, "port": 443}
    [port] = one("Service", service["name"])["spec"]["ports"]
    [named] = [it for it in containers()["csi-model-controller/csi-model"]["ports"] if it["name"] == port["targetPort"]]
    assert named["containerPort"] == VALUES["port"]
    assert f"--webhook=:{VALUES['port']}" in arguments("csi-model-controller/csi-model")


def test_its_service_finds_the_controllers():
    selector = one("Service", certificates.SERVICE)["spec"]["selector"]
    labels = one("Deployment", "csi-model-controller")["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()


def test_applying_the_manifests_again_takes_nothing_away():
    secret = one("Secret", certificates.SERVICE)
    assert not {"data", "stringData", "immutable"} & set(secret)
    assert "caBundle" not in WEBHOOK["clientConfig"]


def test_the_driver_looks_for_the_objects_by_their_names():
    assert renewing.CONFIGURATION.rpartition("/")[2] == CONFIGURATION["metadata"]["name"]
    assert [it["metadata"]["name"] for it in installed() if it["kind"] == "Secret"] == [certificates.SERVICE]


def test_everybody_reaches_the_webhook():
    *_, ingress = one("NetworkPolicy", "csi-model-controller")["spec"]["ingress"]
    assert ingress == {"ports": [{"port": "webhook"}]}
