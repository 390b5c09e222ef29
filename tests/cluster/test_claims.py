import pytest

from csi_model.cluster.claims import annotations_in
from csi_model.cluster.errors import ApiDenied, ApiUnavailable
from csi_model.core.volume import Claim
from csi_model.errors import ClaimIncomplete, StoreUnusable

PATH = "/api/v1/namespaces/team/persistentvolumeclaims"
CLAIM = Claim("team", "qwen", "u-1")


@pytest.fixture
def annotations(api):
    return annotations_in(lambda: api)


def claim(server, found, uid="u-1"):
    server.create(PATH, {"metadata": {"name": "qwen", "uid": uid, "annotations": found}})


def test_a_claims_annotations_are_read_and_nothing_more(server, annotations):
    claim(server, {"model": "s3://models/qwen"})
    assert annotations(CLAIM) == {"model": "s3://models/qwen"}
    assert server.requests == [("get", f"{PATH}/qwen")]


def test_a_claim_whose_uid_nobody_knows_is_the_one_of_its_name(server, annotations):
    claim(server, {"a": "b"}, uid="other")
    assert annotations(Claim("team", "qwen")) == {"a": "b"}


@pytest.mark.parametrize("found", [None, {}, {"a": 7, "b": None}])
def test_what_is_no_annotation_is_left_out(server, annotations, found):
    claim(server, found)
    assert annotations(CLAIM) == {}


def test_a_claim_that_is_gone_is_waited_for(server, annotations):
    with pytest.raises(ClaimIncomplete, match="team/qwen is gone"):
        annotations(CLAIM)


def test_another_claim_of_the_name_is_not_believed(server, annotations):
    claim(server, {"model": "s3://models/other"}, uid="u-2")
    with pytest.raises(ClaimIncomplete, match="another one now"):
        annotations(CLAIM)


def test_an_api_that_does_not_tell_is_no_missing_claim(server, annotations):
    claim(server, {"a": "b"})
    server.denied = {("get", "persistentvolumeclaims")}
    with pytest.raises(ApiDenied, match="'get'"):
        annotations(CLAIM)


def test_a_claim_that_is_damaged_is_no_missing_claim(server, annotations):
    claim(server, "text")
    with pytest.raises(StoreUnusable, match="damaged"):
        annotations(CLAIM)


def test_before_the_api_is_found_nothing_is_said():
    def api():
        raise ApiUnavailable("still looking")

    with pytest.raises(ApiUnavailable, match="still looking"):
        annotations_in(api)(CLAIM)
