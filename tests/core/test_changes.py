import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.core.changes import change, check_bringable, in_words
from csi_model.core.fields import FIELDS, Auth
from csi_model.core.placement import ALL, Placement, Wants
from csi_model.core.volume import VolumeSpec
from csi_model.errors import InvalidArgument

SOURCE = {"source": "s3://models/qwen", "auth": "anonymous"}
WANTS = Wants(2, (("gpu", "h100"),), pin=True)


def spec(mutable=None, **parameters: str) -> VolumeSpec:
    return VolumeSpec.from_parameters({**SOURCE, **parameters}, mutable)


@pytest.mark.parametrize(
    ("mutable", "wants"),
    [
        ({}, WANTS),
        ({"csi.storage.k8s.io/pvc/name": "qwen"}, WANTS),
        ({"warmReplicas": "all"}, Wants(ALL, WANTS.node_selector, pin=True)),
        ({"warmReplicas": "0", "pin": "false"}, Wants(0, WANTS.node_selector)),
        ({"warmNodeSelector": ""}, Wants(2, (), pin=True)),
        ({"warmReplicas": "1", "warmNodeSelector": "a=b", "pin": "false"}, Wants(1, (("a", "b"),))),
    ],
)
def test_what_is_named_changes_and_nothing_else(mutable: dict[str, str], wants: Wants):
    assert change(WANTS, mutable) == wants


@pytest.mark.parametrize(
    ("mutable", "told"),
    [
        ({"warmReplica": "1"}, "did you mean 'warmReplicas'"),
        ({"source": "s3://models/other"}, "source: is unknown"),
        ({"placement": "any"}, "allowed are warmReplicas, warmNodeSelector, pin"),
        ({"pin": "false", "warmReplicas": "-1"}, "mutable_parameters.warmReplicas: is '-1'"),
        ({"warmNodeSelector": "gpu"}, "label=value"),
    ],
)
def test_what_cannot_be_changed_is_named(mutable: dict[str, str], told: str):
    with pytest.raises(InvalidArgument, match=r"mutable_parameters\.") as caught:
        change(WANTS, mutable)
    assert told in str(caught.value)


@given(st.dictionaries(st.sampled_from([*FIELDS, "x"]) | st.text(), st.text()))
def test_any_text_is_a_change_or_an_invalid_argument(mutable: dict[str, str]):
    try:
        changed = change(WANTS, mutable)
    except InvalidArgument:
        return
    assert change(changed, mutable) == changed


def test_what_is_wanted_is_worded_as_it_was_written():
    assert in_words(WANTS) == "warmReplicas: 2, warmNodeSelector: gpu=h100, pin: true"
    assert in_words(Wants()) == "warmReplicas: 0, warmNodeSelector: none, pin: false"


def test_a_secret_brings_nothing_ahead_of_pods():
    for replicas in (1, ALL):
        with pytest.raises(InvalidArgument, match=r"x\.warmReplicas: .*Secret reaches a node only with a pod.*ambient"):
            check_bringable(Auth.SECRET, Wants(replicas), where="x")
    with pytest.raises(InvalidArgument, match=r"x\.placement: is require.*placement: prefer"):
        check_bringable(Auth.SECRET, Wants(), Placement.REQUIRE, where="x")


@pytest.mark.parametrize("auth", ["ambient", "anonymous"])
def test_whoever_needs_no_secret_may_ask_for_both(auth: str):
    made = spec(auth=auth, warmReplicas="all", placement="require")
    assert (made.wants.replicas, made.placement) == (ALL, Placement.REQUIRE)


def test_a_class_with_a_secret_may_pin_and_prefer():
    made = spec(auth="secret", pin="true", placement="prefer", warmReplicas="0", warmNodeSelector="a=b")
    assert made.wants == Wants(0, (("a", "b"),), pin=True)


@pytest.mark.parametrize("changes", [{"warmReplicas": "1"}, {"placement": "require"}])
def test_a_class_with_a_secret_may_not_ask_for_what_nobody_could_do(changes: dict[str, str]):
    with pytest.raises(InvalidArgument, match="auth is secret"):
        spec(auth="secret", **changes)
    with pytest.raises(InvalidArgument, match="auth is secret"):
        VolumeSpec.from_attributes({"source": "s3://models/qwen", **changes})


def test_mutable_parameters_come_before_parameters():
    assert spec({"warmReplicas": "3", "csi.storage.k8s.io/pvc/name": "x"}, warmReplicas="1", pin="true").wants == Wants(
        3, pin=True
    )
    with pytest.raises(InvalidArgument, match="auth is secret"):
        spec({"warmReplicas": "3"}, auth="secret", warmReplicas="0")


def test_what_can_be_changed_does_not_count_as_what_a_volume_is():
    assert spec(warmReplicas="1", pin="true", warmNodeSelector="a=b").fixed == spec()
    assert spec(placement="any").fixed != spec()


def test_the_context_says_only_what_is_asked_for():
    made = spec(placement="require", warmReplicas="all", warmNodeSelector="b=c, a=b", allowedSources="s3://models/**")
    written = {"placement": "require", "warmReplicas": "all", "warmNodeSelector": "a=b,b=c"}
    assert made.context() == {"schema": "1", **SOURCE, **written}
    assert VolumeSpec.from_context(made.context()) == made
    assert spec(placement="prefer", warmReplicas="0", warmNodeSelector=" ").context() == spec().context()
