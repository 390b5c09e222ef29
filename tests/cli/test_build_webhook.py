"""The webhook as a whole: an API server that it watches, and one that calls it."""

import base64
import json
import threading

import pytest

from csi_model.cli.build_webhook import WebhookPart
from csi_model.cli.plan import Plan
from csi_model.cluster.api import connect
from csi_model.cluster.webhook.renewing import CONFIGURATION
from csi_model.errors import InvalidArgument
from csi_model.rpc.metrics import Metrics
from csi_model.settings import Settings, SteeringSettings, StoreSettings
from tests.cluster.webhook.conftest import Client
from tests.cluster.webhook.pods import A, applied, ours, pod, preferences, resolved
from tests.cluster.webhook.test_renewing import SECRETS, entry
from tests.cluster.webhook.test_reviewing import review
from tests.fakes.apiserver import ApiServer

CONFIGURATIONS = CONFIGURATION.rpartition("/")[0]
PVCS = "/api/v1/namespaces/team/persistentvolumeclaims"


def plan(tmp_path, address="127.0.0.1:0"):
    settings = Settings(StoreSettings(tmp_path), steering=SteeringSettings(namespace="csi-model"))
    return Plan("controller", "unix:///x", "n", None, settings, webhook=address)


@pytest.fixture
def server():
    with ApiServer() as server:
        server.create(SECRETS, {"metadata": {"name": "csi-model-webhook"}})
        server.create(CONFIGURATIONS, {"metadata": {"name": "csi-model"}, "webhooks": [entry()]})
        classes = "/apis/storage.k8s.io/v1/storageclasses"
        server.create(classes, {"metadata": {"name": "models"}, "provisioner": "csi-model.io"})
        claim = {"metadata": {"name": "model", "uid": "uid-1"}, "spec": {"storageClassName": "models"}}
        server.create(PVCS, claim)
        yield server


@pytest.fixture
def metrics():
    return Metrics(node=False, webhook=True)


@pytest.fixture
def webhook(server, tmp_path, metrics):
    """One that has begun and can answer."""
    api = connect(server.kubeconfig(tmp_path))
    part = WebhookPart(plan(tmp_path), metrics=metrics)
    assert "certificate" in part.problem()
    part.volumes.replaced({("", "m-1"): resolved()})
    part.begin(api)
    while part.problem():
        threading.Event().wait(0.01)
    yield part
    part.close()
    api.close()


def bundle(server):
    return base64.b64decode(server.all(CONFIGURATIONS)[0]["webhooks"][0]["clientConfig"].get("caBundle", ""))


def mutated(server, webhook, document):
    while not bundle(server):  # a moment after the certificate
        threading.Event().wait(0.01)
    with Client(webhook.port, bundle(server)) as client:
        status, body = client.post(json.dumps(review(document)).encode())
    assert status == 200
    response = json.loads(body)["response"]
    return applied(document, json.loads(base64.b64decode(response.get("patch", "W10="))))


def test_a_pod_is_steered_to_the_model_of_its_claim(server, webhook):
    after = mutated(server, webhook, pod("model"))
    assert preferences(after) == ours(A)
    assert len(after["spec"]["topologySpreadConstraints"]) == 1


def test_reviewing_asks_the_api_server_nothing(server, webhook):
    mutated(server, webhook, pod("model"))
    server.requests.clear()
    mutated(server, webhook, pod("model"))
    assert server.requests == []


def test_reviews_and_the_certificate_are_counted(server, webhook, metrics):
    mutated(server, webhook, pod("model"))
    page = metrics.page().decode()
    assert 'csi_model_admission_seconds_count{outcome="steered"} 1.0' in page
    [line] = [line for line in page.splitlines() if line.startswith("csi_model_webhook_certificate_seconds ")]
    assert 364 * 86400 < float(line.split()[1]) < 366 * 86400


def test_one_that_never_began_can_be_closed(tmp_path):
    WebhookPart(plan(tmp_path)).close()


def test_what_is_no_address_is_refused_by_its_name(tmp_path):
    with pytest.raises(InvalidArgument, match="webhook: 'nowhere' is no address"):
        WebhookPart(plan(tmp_path, "nowhere"))
