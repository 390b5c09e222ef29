"""Requests with a service account's own token, as whoever stole it would make them."""

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any

from e2e.cluster import place
from e2e.kube import Kube

_PORT = 443
_TIMEOUT = 20  # seconds
_KINDS = {
    "POST": "application/json", "PATCH": "application/merge-patch+json", "PUT": "application/json",
    "GET": "", "DELETE": "",
}  # fmt: skip


class Account:
    """A service account, with a token from the TokenRequest API.

    Args:
        kube: the API, from the account's namespace.
        name: of the account.
        pod: whose token it is, as kubelet gives it to a pod of the account; "" for nobody's.

    """

    def __init__(self, kube: Kube, name: str, pod: str = "") -> None:
        bound = ["--bound-object-kind=Pod", f"--bound-object-name={pod}"] if pod else []
        self._token = kube.kubectl("create", "token", name, "--duration=10m", *bound).strip()
        self._trust = ssl.create_default_context(cafile=str(kube.cluster.pki.ca))

    def asks(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> int:
        """Make a request and return HTTP's status."""
        return self._request(method, path, body)[0]

    def rights(self, namespace: str) -> set[tuple[str, str, str, str]]:
        """Return what the API server says it may do there: API group, resource, verb and name ("" for all)."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        said = self._request("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)[1]
        answer = json.loads(said)["status"]
        assert not answer["incomplete"], said
        return {
            (group, resource, verb, name)
            for rule in answer["resourceRules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
            for name in rule.get("resourceNames") or [""]
        }

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(place.CLUSTER_IP, _PORT, context=self._trust, timeout=_TIMEOUT)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": _KINDS[method]}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
