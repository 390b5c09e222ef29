import ssl
from datetime import datetime, timedelta

import pytest
import trustme
from kubernetes.config.incluster_config import InClusterConfigLoader

from csi_model.cluster.api import METADATA, METADATA_LIST, Api, connect
from csi_model.cluster.errors import (
    ApiConflict,
    ApiDenied,
    ApiExpired,
    ApiNotFound,
    ApiRefused,
    ApiUnavailable,
)
from csi_model.errors import StoreUnusable
from tests.fakes.apiserver import ApiServer

PATH = "/apis/csi-model.io/v1alpha1/modelvolumes"


def thing(name="a", **spec):
    return {"metadata": {"name": name}, "spec": spec}


def test_an_object_is_made_read_changed_and_deleted(api):
    api.create(PATH, thing(x=1))
    assert api.get(f"{PATH}/a")["spec"] == {"x": 1}
    assert api.merge_patch(f"{PATH}/a", {"spec": {"y": 2}})["spec"] == {"x": 1, "y": 2}
    api.delete(f"{PATH}/a")
    api.delete(f"{PATH}/a")
    assert api.get(f"{PATH}/a") is None


def test_an_object_is_not_made_twice(api):
    api.create(PATH, thing())
    with pytest.raises(ApiConflict):
        api.create(PATH, thing())


def test_a_change_of_an_old_version_or_of_another_object_is_refused(api):
    version = api.create(PATH, thing())["metadata"]["resourceVersion"]
    api.merge_patch(f"{PATH}/a", {"metadata": {"resourceVersion": version}, "spec": {"x": 1}})
    with pytest.raises(ApiConflict):
        api.merge_patch(f"{PATH}/a", {"metadata": {"resourceVersion": version}, "spec": {"x": 2}})
    with pytest.raises(ApiRefused):
        api.merge_patch(f"{PATH}/a", {"metadata": {"uid": "another"}, "spec": {"x": 2}})
    with pytest.raises(ApiConflict):
        api.delete(f"{PATH}/a", uid="another")
    assert api.get(f"{PATH}/a")["spec"] == {"x": 1}
    api.delete(f"{PATH}/a", uid=api.get(f"{PATH}/a")["metadata"]["uid"])
    assert api.get(f"{PATH}/a") is None


def test_another_patience_is_of_the_same_api(server, api):
    server.failures = [-2]
    with pytest.raises(ApiUnavailable):
        api.within(0.05).get(f"{PATH}/a")
    server.over.set()
    assert api.get(f"{PATH}/a") is None


def test_metadata_alone_can_be_had(api):
    api.create(PATH, thing(x=1))
    assert "spec" not in api.get(f"{PATH}/a", accept=METADATA)
    (item,) = api.list(PATH, query={}, accept=METADATA_LIST)["items"]
    assert (item["metadata"]["name"], "spec" in item) == ("a", False)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ApiRefused), (401, ApiDenied), (403, ApiDenied), (404, ApiNotFound), (405, ApiRefused), (409, ApiConflict),
        (410, ApiExpired), (413, ApiRefused), (422, ApiRefused), (429, ApiUnavailable), (500, ApiUnavailable),
        (503, ApiUnavailable), (302, ApiRefused),
    ],
)  # fmt: skip
def test_a_status_becomes_a_type(server, api, status, kind):
    server.failures = [status]
    with pytest.raises(kind, match="as the test wants it"):
        api.get(f"{PATH}/a")


def test_every_failure_is_one_of_the_registry(server, api):
    server.failures = [500]
    with pytest.raises(StoreUnusable):
        api.get(f"{PATH}/a")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda api: api.get(f"{PATH}/a"), "may not get modelvolumes .API group csi-model.io.: .*verb 'get'"),
        (lambda api: api.list(PATH, query={}), "may not list modelvolumes"),
        (lambda api: api.watch(PATH, query={"resourceVersion": "1"}), "may not watch modelvolumes"),
        (lambda api: api.create(PATH, thing()), "may not create modelvolumes"),
        (lambda api: api.merge_patch(f"{PATH}/a", {}), "may not patch modelvolumes"),
        (lambda api: api.delete(f"{PATH}/a"), "may not delete modelvolumes"),
    ],
)
def test_a_right_that_is_missing_is_named(server, api, call, words):
    server.denied = {(verb, "modelvolumes") for verb in ("get", "list", "watch", "create", "patch", "delete")}
    with pytest.raises(ApiDenied, match=words):
        call(api)


def test_a_right_that_is_missing_in_a_namespace_names_it(server, api):
    server.denied = {("get", "secrets")}
    with pytest.raises(ApiDenied, match=r"get secrets \(API group core\) in namespace team"):
        api.get("/api/v1/namespaces/team/secrets/x")


def test_a_kind_that_the_cluster_does_not_know_is_no_absent_object(server, api):
    server.unknown = {"modelvolumes"}
    with pytest.raises(ApiNotFound):
        api.get(f"{PATH}/a")
    with pytest.raises(ApiNotFound):
        api.delete(f"{PATH}/a")
    with pytest.raises(ApiNotFound):
        api.create(PATH, thing())
    with pytest.raises(ApiNotFound):
        api.list(PATH, query={})


def test_a_broken_connection_is_unavailable(server, api):
    server.failures = [-1]
    with pytest.raises(ApiUnavailable, match="doesn't answer"):
        api.get(f"{PATH}/a")
    assert api.get(f"{PATH}/a") is None


def test_a_server_that_says_nothing_is_unavailable(server, api):
    server.failures = [-2]
    hasty = Api(api._client, read_timeout=0.05)
    with pytest.raises(ApiUnavailable, match="doesn't answer"):
        hasty.get(f"{PATH}/a")
    server.over.set()


def test_nobody_there_is_unavailable(tmp_path):
    with ApiServer() as gone:
        config = gone.kubeconfig(tmp_path)
    api = connect(config)
    with pytest.raises(ApiUnavailable, match="doesn't answer"):
        api.get(f"{PATH}/a")


def test_the_token_goes_with_each_request(server, api):
    server.expected_token = "secret-token"
    assert api.get(f"{PATH}/a") is None


def test_a_token_that_is_not_accepted_is_said_and_not_shown(server, api):
    server.expected_token = "another"
    with pytest.raises(ApiDenied, match="token") as caught:
        api.get(f"{PATH}/a")
    assert "secret-token" not in str(caught.value)


def test_no_configuration_at_all_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ApiUnavailable, match="no way"):
        connect(tmp_path / "nothing")
    (tmp_path / "bad").write_text("clusters: 7")
    with pytest.raises(ApiUnavailable, match="no way"):
        connect(tmp_path / "bad")


class TestInACluster:
    """As a pod finds it: a service account's directory, TLS, and a token that is renewed."""

    @pytest.fixture
    def server(self, tmp_path):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.crt")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        with ApiServer(tls=tls) as server:
            yield server

    @pytest.fixture
    def loader(self, server, tmp_path, monkeypatch):
        (tmp_path / "token").write_text("first")
        host, port = server.url.removeprefix("https://").split(":")
        environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        loader = InClusterConfigLoader(tmp_path / "token", tmp_path / "ca.crt", environ=environment)
        monkeypatch.setattr("kubernetes.config.load_incluster_config", loader.load_and_set)
        return loader

    def test_a_pod_connects_with_its_service_account(self, server, loader):
        server.expected_token = "first"
        api = connect()
        assert api.get(f"{PATH}/a") is None
        api.close()

    def test_a_renewed_token_is_used(self, server, loader, tmp_path):
        api = connect()
        api.get(f"{PATH}/a")
        (tmp_path / "token").write_text("second")
        loader.token_expires_at = datetime.now() - timedelta(seconds=1)  # noqa: DTZ005 - as the client counts
        server.expected_token = "second"
        assert api.get(f"{PATH}/a") is None
        api.close()

    def test_a_server_with_another_certificate_is_not_spoken_to(self, server, loader, tmp_path):
        trustme.CA().cert_pem.write_to_path(tmp_path / "ca.crt")
        api = connect()
        with pytest.raises(ApiUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            api.get(f"{PATH}/a")
        assert server.requests == []
        api.close()
