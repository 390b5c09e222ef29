import base64
import json

import pytest
from hypothesis import given

from csi_model.cluster.webhook.reviewing import Reviewer
from tests.cluster.webhook.pods import A, applied, ours, pod, preferences, resolved
from tests.cluster.webhook.test_known import known
from tests.cluster.webhook.test_mutating import POD


def review(document, **request):
    resource = {"group": "", "version": "v1", "resource": "pods"}
    asked = {"uid": "42", "operation": "CREATE", "namespace": "team", "resource": resource, "object": document}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked | request}


@pytest.fixture
def outcomes():
    return []


@pytest.fixture
def answer(outcomes):
    """Have a review answered: what is known is one resolved claim."""
    reviewer = Reviewer(known(volumes=[resolved()]), spread=False, observe=lambda outcome, _: outcomes.append(outcome))

    def answer(document):
        answered = json.loads(reviewer.review(json.dumps(document).encode()))
        assert (answered["apiVersion"], answered["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        return answered["response"]

    return answer


def test_a_pod_of_a_known_model_is_given_its_preferences(answer, outcomes):
    response = answer(review(pod("model")))
    assert (response["uid"], response["allowed"], response["patchType"]) == ("42", True, "JSONPatch")
    assert preferences(applied(pod("model"), json.loads(base64.b64decode(response["patch"])))) == ours(A)
    assert outcomes == ["steered"]


@pytest.mark.parametrize(
    "request_", [{"operation": "UPDATE"}, {"subResource": "binding"}, {"resource": {"resource": "podtemplates"}}]
)  # fmt: skip
def test_anything_but_the_creation_of_a_pod_is_let_through(answer, outcomes, request_):
    assert answer(review(pod("model"), **request_)) == {"uid": "42", "allowed": True}
    assert outcomes == ["nothing"]


def test_a_pod_without_claims_is_let_through(answer, outcomes):
    assert answer(review(pod())) == {"uid": "42", "allowed": True}
    assert outcomes == ["nothing"]


def test_a_pod_whose_model_is_not_known_in_time_is_let_through(answer, outcomes):
    assert answer(review(pod("other"))) == {"uid": "42", "allowed": True}
    assert outcomes == ["late"]


def test_of_two_claims_the_known_one_steers(answer, outcomes):
    assert "patch" in answer(review(pod("model", "other")))
    assert outcomes == ["late"]


def test_the_namespace_is_the_requests_not_the_pods(answer):
    document = pod("model")
    document["metadata"]["namespace"] = "team"
    assert "patch" not in answer(review(document, namespace="other"))


def test_a_bug_lets_the_pod_through_and_is_logged_once_without_its_words(outcomes, caplog):
    class Broken:
        def find(self, *_):
            raise KeyError("a secret of the pod")

    reviewer = Reviewer(Broken(), spread=False, observe=lambda outcome, _: outcomes.append(outcome))
    for _ in range(2):
        response = json.loads(reviewer.review(json.dumps(review(pod("model"))).encode()))["response"]
        assert response == {"uid": "42", "allowed": True}
    assert outcomes == ["failed", "failed"]
    assert len(caplog.records) == 1
    assert "KeyError at test_reviewing.py" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"request": {"uid": "1"}}',
        json.dumps({**review(pod()), "apiVersion": "admission.k8s.io/v1beta1"}).encode(),
        json.dumps(review(pod(), uid="x" * 200)).encode(), json.dumps(review(pod(), uid=5)).encode(),
    ],
)  # fmt: skip
def test_what_is_no_admission_review_has_no_answer(body):
    with pytest.raises(ValueError, match=r"."):
        Reviewer(known(), spread=False).review(body)


@given(POD)
def test_whatever_the_pod_it_is_let_through(document):
    outcomes = []
    reviewer = Reviewer(known(volumes=[resolved()]), spread=True, observe=lambda outcome, _: outcomes.append(outcome))
    response = json.loads(reviewer.review(json.dumps(review(document)).encode()))["response"]
    assert response["allowed"] is True
    assert outcomes != ["failed"]
