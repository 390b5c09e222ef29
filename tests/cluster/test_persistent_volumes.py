import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.cluster.persistent_volumes import (
    Action,
    Known,
    PersistentVolume,
    decide,
    is_orphan,
    trim,
)
from csi_model.core.capability import AccessMode
from csi_model.core.naming import volume_id_of
from csi_model.core.placement import ALL, Placement, Wants
from csi_model.core.volume import Claim
from csi_model.errors import CsiModelError, InvalidArgument, UnsupportedCapability
from tests.cluster.pvs import CLAIM, pv
from tests.contracts.registry_contract import record

MANIFEST = record().manifest
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("x" * 5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_what_matters_is_kept():
    item = pv(
        claim=CLAIM, phase="Bound", mountOptions=["noatime"], volumeMode="Filesystem", csi={
            "fsType": "ext4", "nodeStageSecretRef": {"namespace": "a", "name": "b"},
        },
    )  # fmt: skip
    item["metadata"]["uid"] = "u"
    assert trim(item) == PersistentVolume(
        name="pv-1", uid="u", handle="pv-1", context={"source": "s3://models/qwen", "auth": "anonymous"},
        access_modes=("ReadOnlyMany",), block=False, fs_type="ext4", mount_flags=("noatime",), capacity=20 * 2**30,
        static=True, claim=Claim("team", "qwen", CLAIM["uid"]), secret=("a", "b"), wanted=True, released=False,
    )  # fmt: skip


def test_volumes_of_other_drivers_are_of_no_interest():
    assert trim(pv(csi={"driver": "ebs.csi.aws.com"})) is None
    assert trim({"metadata": {"name": "x"}, "spec": {"hostPath": {"path": "/"}}}) is None


def test_what_a_provisioner_made_is_not_static():
    assert not trim(pv(provisioned=True)).static


def test_what_only_says_that_a_provisioner_made_it_is_static():
    item = pv(provisioned=True)
    item["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"] = "ebs.csi.aws.com"
    assert trim(item).static
    item = pv(provisioned=True)
    del item["spec"]["csi"]["volumeAttributes"]["revision"]
    assert trim(item).static


def test_what_others_add_to_the_context_does_not_count():
    identity = "storage.kubernetes.io/csiProvisionerIdentity"
    context = {"source": "s3://models/x", "include": ",".join(["*" * 200] * 20), identity: "x" * 200}
    assert identity not in trim(pv(context=context)).context
    assert trim(pv(context=context)).problem == ""


@pytest.mark.parametrize("phase", ["Pending", "Available", "Bound", ""])
def test_a_volume_that_can_be_mounted_is_wanted(phase):
    assert trim(pv(phase=phase)).wanted


@pytest.mark.parametrize("phase", ["Released", "Failed"])
def test_a_released_volume_is_not_wanted(phase):
    assert (trim(pv(phase=phase)).wanted, trim(pv(phase=phase)).released) == (False, True)


def test_a_volume_that_is_being_deleted_is_not_wanted():
    item = pv(phase="Bound")
    item["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    assert not trim(item).wanted


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "", "A", "x" * 2000, 7, None])
def test_names_that_would_become_paths_of_the_api_are_none(name):
    item = pv(claim={**CLAIM, "name": name}, csi={"nodeStageSecretRef": {"namespace": "a", "name": name}})
    assert (trim(item).claim, trim(item).secret) == (None, None)
    assert trim(pv(csi={"nodeStageSecretRef": {"namespace": name, "name": "b"}})).secret is None
    assert trim({**item, "metadata": {"name": name}}) is None


@pytest.mark.parametrize("handle", ["x" * 129, "\ud800", 7, None])
def test_a_handle_that_csi_would_not_carry_is_a_problem(handle):
    with pytest.raises(InvalidArgument, match="volumeHandle"):
        trim(pv(csi={"volumeHandle": handle})).spec()


@pytest.mark.parametrize("context", [{"source": 7}, {"source": "\ud800"}, {"x": "y" * 5000}])
def test_a_context_that_csi_would_not_carry_is_a_problem_and_not_kept(context):
    trimmed = trim(pv(context=context))
    assert trimmed.context == {}
    with pytest.raises(InvalidArgument, match="volumeAttributes"):
        trimmed.spec()


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [
        ("ReadWriteOnce", AccessMode.SINGLE_NODE_MULTI_WRITER),
        ("ReadOnlyMany", AccessMode.MULTI_NODE_READER_ONLY),
        ("ReadWriteOncePod", AccessMode.SINGLE_NODE_SINGLE_WRITER),
    ],
)
def test_access_modes_are_translated_as_the_provisioner_does(mode, becomes):
    (capability,) = trim(pv(accessModes=[mode])).capabilities()
    assert capability.mode == becomes


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"accessModes": ["ReadWriteMany"]}, "use ReadOnlyMany"),
        ({"volumeMode": "Block"}, "volumeMode: Filesystem"),
        ({"mountOptions": ["exec"]}, "mount option"),
    ],
)
def test_what_a_read_only_volume_cannot_be_is_refused(spec, words):
    with pytest.raises(UnsupportedCapability, match=words):
        trim(pv(**spec)).capabilities()


@pytest.mark.parametrize("modes", [[], ["Sometimes"], [7], None])
def test_access_modes_that_nobody_knows_are_refused(modes):
    with pytest.raises(InvalidArgument):
        trim(pv(accessModes=modes)).capabilities()


def test_whoever_writes_a_volume_says_himself_where_it_can_be():
    context = {"source": "s3://models/qwen", "auth": "anonymous", "placement": "require"}
    with pytest.raises(InvalidArgument, match=r"volumeAttributes\.placement: .*nodeAffinity"):
        trim(pv(context=context)).spec()
    made = trim(pv(context={**context, "warmReplicas": "2"}, provisioned=True)).record(MANIFEST)
    assert (made.spec.placement, made.wanted) == (Placement.REQUIRE, Wants(2))


def test_a_volume_that_people_write_may_be_brought_ahead():
    context = {"source": "s3://models/qwen", "warmReplicas": "all", "warmNodeSelector": "gpu=h100", "pin": "true"}
    made = trim(pv(context={**context, "auth": "ambient", "placement": "any"})).record(MANIFEST)
    assert made.wanted == Wants(ALL, (("gpu", "h100"),), pin=True)
    with pytest.raises(InvalidArgument, match=r"volumeAttributes\.warmReplicas: .*auth is secret"):
        trim(pv(context={**context, "auth": "secret"})).spec()


@pytest.mark.parametrize("name", ["allowedSources", "warmReplica"])
def test_what_is_no_attribute_of_a_volume_is_told(name):
    with pytest.raises(InvalidArgument, match=rf"volumeAttributes\.{name}: is unknown"):
        trim(pv(context={"source": "s3://models/qwen", name: "s3://**"})).spec()


def test_a_record_is_made_of_it():
    made = trim(pv(claim=CLAIM, handle="h")).record(MANIFEST)
    assert (made.volume_id, made.name, made.capacity) == ("h", "pv-1", 20 * 2**30)
    assert made.claim == Claim("team", "qwen", CLAIM["uid"])
    assert trim(pv(capacity={"storage": "1"})).record(MANIFEST).capacity == MANIFEST.size


def test_another_revision_than_its_pin_is_refused():
    context = {"source": "s3://models/qwen", "revision": MANIFEST.digest}
    assert trim(pv(context=context)).record(MANIFEST).manifest == MANIFEST
    with pytest.raises(InvalidArgument, match="the model was changed"):
        trim(pv(context={**context, "revision": "0" * 64})).record(MANIFEST)
    with pytest.raises(InvalidArgument, match="no manifest digest"):
        trim(pv(context={**context, "revision": "latest"})).record(MANIFEST)


STATIC, MADE = trim(pv(handle="h")), trim(pv(handle="h", provisioned=True))
GONE = replace(STATIC, wanted=False)
OWN, OTHERS, CREATED = Known("h", "pv-1"), Known("h", "pv-2"), Known("h", None)


@pytest.mark.parametrize(
    ("volume", "known", "action"),
    [
        (STATIC, None, Action.ADOPT),
        (STATIC, OWN, Action.FOLLOW),
        (STATIC, OTHERS, Action.REFUSE),
        (STATIC, CREATED, Action.REFUSE),
        (replace(STATIC, name="pvc-1"), Known(volume_id_of("pvc-1"), None), Action.NOTHING),
        (MADE, None, Action.ADOPT),
        (MADE, CREATED, Action.NOTHING),
        (MADE, OWN, Action.FOLLOW),
        (GONE, None, Action.NOTHING),
        (GONE, OTHERS, Action.NOTHING),
    ],
)
def test_what_a_volume_needs(volume, known, action):
    assert decide(volume, known) == action


@pytest.mark.parametrize(
    ("known", "volume", "orphan"),
    [
        (OWN, None, True),
        (CREATED, None, False),
        (OWN, STATIC, False),
        (OWN, GONE, False),
        (OWN, replace(GONE, released=True), False),
        (OWN, replace(STATIC, handle="other"), True),
        (replace(OWN, uid="u"), replace(STATIC, uid="u"), False),
        (replace(OWN, uid="u"), replace(STATIC, uid="v"), True),
        (OWN, MADE, False),
        (OWN, replace(MADE, wanted=False), False),
        (OWN, replace(MADE, wanted=False, released=True), True),
        (CREATED, replace(MADE, wanted=False, released=True), False),
    ],
)
def test_which_records_go_with_their_volume(known, volume, orphan):
    assert is_orphan(known, volume) == orphan


@given(st.booleans(), st.booleans(), st.booleans(), st.sampled_from([None, "pv-1", "pv-2"]))
def test_what_is_wanted_is_never_an_orphan_and_created_ones_never_go(static, wanted, released, made_from):
    volume = replace(STATIC, static=static, wanted=wanted and not released, released=released)
    known = Known("h", made_from)
    if volume.wanted or made_from is None:
        assert not is_orphan(known, volume)
    if decide(volume, None) == Action.ADOPT:
        assert decide(volume, Known("h", "pv-1")) == Action.FOLLOW
        assert not is_orphan(Known("h", "pv-1"), volume)


def _odd(draw_json):
    """A PersistentVolume of this driver in which any field may be anything."""
    fields = st.sampled_from([
        ("metadata", "name"), ("metadata", "uid"), ("metadata", "annotations"), ("metadata", "deletionTimestamp"),
        ("spec", "csi"), ("spec", "claimRef"), ("spec", "accessModes"), ("spec", "capacity"), ("spec", "mountOptions"),
        ("spec", "volumeMode"), ("status", "phase"), ("metadata", None), ("spec", None), ("status", None),
    ])  # fmt: skip
    return st.tuples(fields, draw_json)


@given(st.lists(_odd(JSON), max_size=3), st.dictionaries(
    st.sampled_from(["volumeHandle", "volumeAttributes", "fsType", "nodeStageSecretRef"]), JSON
))  # fmt: skip
def test_any_volume_is_trimmed_and_made_a_record_or_refused(changes, csi):
    item = pv(csi=csi)
    for (part, name), value in changes:
        if name is None:
            item[part] = value
        elif isinstance(item[part], dict):
            item[part] = {**item[part], name: value}
    trimmed = trim(item)
    if trimmed is not None:
        decide(trimmed, None)
        with contextlib.suppress(CsiModelError):
            trimmed.record(MANIFEST)


@given(JSON)
def test_anything_is_trimmed(value):
    trim({"metadata": value, "spec": value, "status": value})
    trim({"metadata": {"name": "a"}, "spec": {"csi": {"driver": "csi-model.io", "volumeAttributes": value}}})
