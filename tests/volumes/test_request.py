import pytest

from csi_model.core.capability import AccessMode, Capability
from csi_model.core.manifest import Entry, Manifest
from csi_model.core.volume import Claim
from csi_model.errors import CapacityExceeded, InvalidArgument, UnsupportedCapability
from csi_model.volumes.request import VolumeRequest, check_ambient

READER, WRITER = Capability(AccessMode.MULTI_NODE_READER_ONLY), Capability(AccessMode.SINGLE_NODE_WRITER)
MANIFEST = Manifest.of("here", [Entry("weights", 1000, "k", "p")])


def request(**changes) -> VolumeRequest:
    asked = {"name": "pvc-1", "parameters": {"source": "s3://models/qwen"}, "capabilities": [READER]}
    return VolumeRequest.of(**{**asked, "required_bytes": 0, "limit_bytes": 0, **changes})


def claimed(auth: str = "ambient", source: str = "s3://models/${pvc.name}", name: str = "qwen"):
    return request(parameters={"source": source, "auth": auth, "csi.storage.k8s.io/pvc/name": name}).spec


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": ""}, InvalidArgument),
        ({"name": "a\x01"}, InvalidArgument),
        ({"capabilities": []}, InvalidArgument),
        ({"capabilities": [READER, Capability(AccessMode.MULTI_NODE_MULTI_WRITER)]}, UnsupportedCapability),
        ({"parameters": {}}, InvalidArgument),
        ({"required_bytes": -1}, InvalidArgument),
        ({"limit_bytes": -1}, InvalidArgument),
        ({"required_bytes": 2, "limit_bytes": 1}, InvalidArgument),
        ({"parameters": {"source": "s3://a/b", "include": ",".join("x" * 250 for _ in range(60))}}, InvalidArgument),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_listed(changes, error):
    with pytest.raises(error):
        request(**changes)


@pytest.mark.parametrize(
    ("required", "limit", "capacity"),
    [(0, 0, 1000), (1, 0, 1000), (5000, 0, 5000), (5000, 5000, 5000), (0, 1000, 1000)],
)
def test_the_capacity_is_the_larger_of_the_request_and_the_model(required: int, limit: int, capacity: int):
    assert request(required_bytes=required, limit_bytes=limit).record(MANIFEST).capacity == capacity


def test_a_model_above_the_limit_names_both():
    with pytest.raises(CapacityExceeded, match=r"1000 bytes.*999 bytes"):
        request(limit_bytes=999).record(MANIFEST)


def test_a_record_of_the_same_request_differs_in_nothing():
    assert request().difference(request().record(MANIFEST)) == ""
    assert request(limit_bytes=9000).difference(request(required_bytes=5000).record(MANIFEST)) == ""


def test_the_claim_is_recorded_and_makes_no_difference():
    keys = {"csi.storage.k8s.io/pvc/namespace": "team", "csi.storage.k8s.io/pvc/name": "qwen"}
    made = request(parameters={"source": "s3://models/qwen", **keys}).record(MANIFEST)
    assert made.claim == Claim("team", "qwen")
    assert request().difference(made) == ""


def test_the_order_of_capabilities_is_no_difference():
    one, other = request(capabilities=[READER, WRITER]), request(capabilities=[WRITER, READER])
    assert one == other
    assert one.record(MANIFEST) == other.record(MANIFEST)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"parameters": {"source": "s3://models/other"}}, "source is s3://models/qwen, not s3://models/other"),
        ({"parameters": {"source": "s3://models/qwen", "pin": "true"}}, "pin is the default, not true"),
        ({"capabilities": [WRITER]}, "capabilities"),
        ({"required_bytes": 1001}, "at least 1001"),
        ({"limit_bytes": 999}, "at most 999"),
    ],
)
def test_every_difference_is_named(changes, named: str):
    assert named in request(**changes).difference(request().record(MANIFEST))


def test_the_drivers_own_rights_are_refused_for_what_a_claim_names():
    with pytest.raises(InvalidArgument, match=r"parameters\.auth: .*s3://models/qwen"):
        check_ambient(claimed(), [])
    with pytest.raises(InvalidArgument):
        check_ambient(claimed(), ["s3://public/*"])


@pytest.mark.parametrize("glob", ["s3://models/*", "s3://models/**", "s3://models/q?en", "s3://**"])
def test_unless_a_glob_covers_it(glob: str):
    check_ambient(claimed(), ["s3://public/*", glob])


@pytest.mark.parametrize(
    "source", ["s3://models/${pvc.name}/deep", "s3://models2/${pvc.name}", "s3://${pvc.name}/models/x"]
)
def test_a_glob_covers_no_more_than_it_says(source: str):
    with pytest.raises(InvalidArgument):
        check_ambient(claimed(source=source), ["s3://models/*"])


def test_the_allow_list_is_for_claims_only():
    check_ambient(request(parameters={"source": "s3://models/qwen", "auth": "ambient"}).spec, [])
    check_ambient(claimed(auth="secret"), [])
    check_ambient(claimed(auth="anonymous"), [])
