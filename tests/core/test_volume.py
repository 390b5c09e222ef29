import pytest

from csi_model.core.volume import Claim, VolumeSpec, check_revision, revision_of
from csi_model.errors import InvalidArgument
from tests.contracts.registry_contract import record

UID = "5f0c2b3e-0000-4000-8000-000000000001"
KEYS = {"csi.storage.k8s.io/pvc/namespace": "team", "csi.storage.k8s.io/pvc/name": "qwen"}


def test_the_claim_is_known_from_what_the_provisioner_adds():
    assert Claim.from_parameters(KEYS, f"pvc-{UID}") == Claim("team", "qwen", UID)
    assert str(Claim("team", "qwen", UID)) == "team/qwen"


@pytest.mark.parametrize("name", ["sanity-1", "pvc-1", f"pvc-{UID}x", f"pvc-{UID}\n", UID, f"pvc-{UID.upper()}"])
def test_a_name_that_no_provisioner_made_tells_no_uid(name: str):
    assert Claim.from_parameters(KEYS, name) == Claim("team", "qwen", None)


@pytest.mark.parametrize("odd", ["", "../x", "A", "a\n"])
def test_names_that_no_claim_can_have_are_no_claim(odd: str):
    assert Claim.from_parameters({}, f"pvc-{UID}") is None
    for key in KEYS:
        assert Claim.from_parameters({**KEYS, key: odd}, f"pvc-{UID}") is None


def test_the_answer_to_create_volume_carries_the_revision_and_the_spec_does_not_read_it():
    made = record()
    assert made.context() == {**made.spec.context(), "revision": made.manifest.digest}
    assert VolumeSpec.from_context(made.context()).context() == made.spec.context()


def test_a_context_without_a_schema_is_of_the_first():
    assert VolumeSpec.from_context({"source": "s3://a/b"}) == VolumeSpec.from_parameters({"source": "s3://a/b"})


def test_a_revision_has_to_be_a_digest():
    assert revision_of({}) is None
    assert revision_of({"revision": "0" * 64}) == "0" * 64
    for odd in ("", "latest", "0" * 63, "A" * 64, "0" * 64 + "\n"):
        with pytest.raises(InvalidArgument, match=r"volume_context\.revision"):
            revision_of({"revision": odd})


def test_another_manifest_than_the_expected_is_refused():
    manifest = record().manifest
    check_revision({}, manifest)
    check_revision({"revision": manifest.digest}, manifest)
    with pytest.raises(InvalidArgument, match=manifest.digest):
        check_revision({"revision": "0" * 64}, manifest)
