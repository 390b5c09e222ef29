"""The Secret and the MutatingWebhookConfiguration, against the fake API server."""

import base64
import datetime as dt
import ssl
import threading

import pytest

from csi_model.cluster.webhook.certificates import Kept, names_in, renewed, split
from csi_model.cluster.webhook.renewing import CONFIGURATION, Renewing
from tests.cluster.webhook.conftest import Client
from tests.fakes.apiserver_objects import Refused

SECRETS = "/api/v1/namespaces/csi-model/secrets"
SECRET = f"{SECRETS}/csi-model-webhook"
NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


def entry(name="pods.csi-model.io", namespace="csi-model", service="csi-model-webhook", **client):
    service = {"namespace": namespace, "name": service, "path": "/mutate", "port": 443}
    return {"name": name, "clientConfig": {"service": service, **client}, "timeoutSeconds": 3}


@pytest.fixture
def installed(server):
    """What the chart makes."""
    server.create(SECRETS, {"metadata": {"name": "csi-model-webhook"}, "type": "Opaque"})
    server.create(CONFIGURATION.rpartition("/")[0], {"metadata": {"name": "csi-model"}, "webhooks": [entry()]})
    return server


@pytest.fixture
def clock():
    return [NOW]


@pytest.fixture
def renewing(api, clock):
    return Renewing(api, "csi-model", now=lambda: clock[0])


def secret(server):
    return {name: base64.b64decode(value) for name, value in server.all(SECRETS)[0].get("data", {}).items()}


def trusted(server):
    [configuration] = server.all(CONFIGURATION.rpartition("/")[0])
    return [base64.b64decode(it["clientConfig"].get("caBundle", "")) for it in configuration["webhooks"]]


def test_the_empty_secret_is_filled_and_the_authority_is_trusted(installed, renewing):
    assert renewing.context() is None
    assert renewing.look()
    assert set(secret(installed)) == {"ca.crt", "ca.key", "tls.crt", "tls.key"}
    assert trusted(installed) == [secret(installed)["ca.crt"]]
    assert renewing.context() is not None


def test_what_is_served_is_trusted_by_who_reads_the_configuration(installed, renewing, serving):
    clock_now = Renewing(renewing._api, "csi-model")
    assert clock_now.look()
    with Client(serving(certificate=clock_now.context).port, trusted(installed)[0]) as client:
        assert client.post(b"x") == (200, b"X")


def test_looking_again_writes_nothing_and_keeps_the_context(installed, renewing):
    renewing.look()
    context, installed.requests[:] = renewing.context(), []
    assert renewing.look()
    assert {verb for verb, _ in installed.requests} == {"get"}
    assert renewing.context() is context


def test_two_replicas_serve_the_same(installed, api, renewing):
    other = Renewing(api, "csi-model", now=lambda: NOW)
    assert renewing.look()
    assert other.look()
    assert other._served == renewing._served


def test_of_two_replicas_that_begin_at_once_the_faster_one_wins(installed, api):
    fast = Renewing(api, "csi-model", now=lambda: NOW)
    turns = [fast.look]

    def meanwhile():
        """Let the fast one fill the Secret between the slow one's reading and its writing."""
        if turns:
            assert turns.pop()()
        return NOW

    slow = Renewing(api, "csi-model", now=meanwhile)
    assert slow.look()
    assert slow._served == fast._served
    assert slow._served.certificate == secret(installed)["tls.crt"]
    assert trusted(installed) == [slow._served.bundle]


def test_a_certificate_that_another_replica_renewed_is_served(installed, api, renewing, clock):
    renewing.look()
    before = renewing.context()
    Renewing(api, "csi-model", now=lambda: NOW + dt.timedelta(days=300)).look()
    assert renewing.look()
    assert renewing.context() is not before


def test_while_an_authority_is_replaced_both_are_trusted(installed, renewing, clock):
    renewing.look()
    [old] = split(trusted(installed)[0])
    for days in (2300, 2440):
        clock[0] = NOW + dt.timedelta(days=days)
        renewing.look()
    renewing.look()
    assert len(split(trusted(installed)[0])) == 2
    assert old in split(trusted(installed)[0])


@pytest.mark.parametrize(
    "data", [None, {"ca.crt": "%%%", "tls.key": 5}, {"ca.key": base64.b64encode(b"junk").decode()}]
)
def test_a_secret_that_was_wiped_or_damaged_is_filled_anew(installed, renewing, data):
    renewing.look()
    installed.patch(SECRET, {"data": None})
    installed.patch(SECRET, {"data": data})
    assert renewing.look()
    assert trusted(installed) == [secret(installed)["ca.crt"]]


def test_a_bundle_that_was_wiped_is_back_and_all_else_stays(installed, renewing):
    renewing.look()
    others = [entry(), entry("other", service="others", caBundle="eA=="), "junk"]
    installed.patch(CONFIGURATION, {"webhooks": others})
    assert renewing.look()
    [configuration] = installed.all(CONFIGURATION.rpartition("/")[0])
    mine, *rest = configuration["webhooks"]
    assert base64.b64decode(mine["clientConfig"].pop("caBundle")) == secret(installed)["ca.crt"]
    assert [mine, *rest] == others


def test_without_the_configuration_the_certificate_is_kept_all_the_same(installed, renewing):
    installed.delete(CONFIGURATION)
    assert renewing.look()
    assert renewing.context() is not None


def test_without_the_secret_it_says_so_once(installed, renewing, caplog):
    installed.delete(SECRET)
    assert not renewing.look()
    assert not renewing.look()
    assert [record.getMessage() for record in caplog.records] == [
        "the webhook's certificate can't be kept: the Secret csi-model/csi-model-webhook is missing: it comes with the chart"
    ]


def test_without_the_right_to_the_configuration_the_certificate_is_served_all_the_same(installed, renewing, caplog):
    installed.denied.add(("patch", "mutatingwebhookconfigurations"))
    assert not renewing.look()
    assert renewing.context() is not None
    assert "mutatingwebhookconfigurations" in caplog.text


def test_no_key_is_logged(installed, renewing, caplog):
    caplog.set_level("DEBUG")
    renewing.look()
    assert "serves a certificate" in caplog.text
    assert "PRIVATE" not in caplog.text
    assert secret(installed)["tls.key"].split(b"\n")[1].decode() not in caplog.text


def test_it_tells_how_long_the_certificate_is_valid(installed, renewing, clock):
    assert renewing.seconds_left() is None
    renewing.look()
    clock[0] += dt.timedelta(days=1)
    assert renewing.seconds_left() == 364 * 86400


def test_the_thread_looks_until_it_is_stopped(installed, api):
    done = threading.Event()
    renewing = Renewing(api, "csi-model", period=0.01)
    look = renewing.look
    renewing.look = lambda: (look(), renewing.context() and done.set())[0]
    renewing.start()
    assert done.wait(30)
    renewing.stop(30)
    assert not renewing._thread.is_alive()
    assert isinstance(renewing.context(), ssl.SSLContext)


def test_a_conflict_that_never_ends_is_told(installed, renewing, caplog, monkeypatch):
    def conflict(*_, **__):
        raise Refused(409, "Conflict", "again")

    monkeypatch.setattr(installed.objects, "patch", conflict)
    assert not renewing.look()
    assert "changes all the time" in caplog.text


def test_kept_by_hand_is_what_is_served(installed, renewing):
    kept = renewed(Kept(), names_in("csi-model"), NOW)
    data = {"ca.crt": kept.bundle, "ca.key": kept.authority_key, "tls.crt": kept.certificate, "tls.key": kept.key}
    installed.patch(SECRET, {"data": {name: base64.b64encode(value).decode() for name, value in data.items()}})
    assert renewing.look()
    assert renewing._served == kept
