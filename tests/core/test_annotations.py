"""Annotations in a source: written by whoever makes the claim, so hostile until proven otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.core.globs import Selection
from csi_model.core.templates import MAX_ANNOTATION, VARIABLES, uses_annotations
from csi_model.core.volume import VolumeSpec
from csi_model.errors import ClaimIncomplete, CsiModelError, InvalidArgument

NAME = "csi-model.io/source"
WHOLE = f"${{pvc.annotations['{NAME}']}}"
ALLOWED = "s3://models/**, s3://teams/${pvc.namespace}/*"
METADATA = dict(zip(VARIABLES.values(), ("qwen", "chat", "pvc-1"), strict=True))


def spec(value: str | None, source: str = WHOLE, *, allowed: str | None = ALLOWED, **changes) -> VolumeSpec:
    annotations = {"other": "s3://models/other"} if value is None else {NAME: value}
    parameters = {"source": source, **METADATA, **({} if allowed is None else {"allowedSources": allowed})}
    return VolumeSpec.from_parameters(parameters, annotations=lambda: annotations, **changes)


@pytest.mark.parametrize(
    ("source", "value", "becomes"),
    [
        (WHOLE, "s3://models/qwen", "s3://models/qwen"),
        (WHOLE, "s3://models/a/b/", "s3://models/a/b"),
        (WHOLE, "s3://teams/chat/own", "s3://teams/chat/own"),
        (f"s3://models/{WHOLE}", "qwen", "s3://models/qwen"),
        (f"s3://models/{WHOLE}", "org/name@v1:x+y=z,w~1", "s3://models/org/name@v1:x+y=z,w~1"),
        (f"s3://models/${{pvc.namespace}}/{WHOLE}-{WHOLE}", "a", "s3://models/chat/a-a"),
    ],
)
def test_a_claim_names_its_model(source: str, value: str, becomes: str):
    made = spec(value, source)
    assert str(made.source) == becomes
    assert made.from_claim


@pytest.mark.parametrize(
    "value",
    [
        "../other", "a/../../b", "..", ".", "a//b", "/a", "//a", "", "%2e%2e/b", "a%2Fb", "a\x00b", "a\nb", "a b", "\tq",
        "${pvc.name}", "$", "{x}", "a?b", "a#b", "*", "[a]", "a\\b", "\u2025/b", "\uff0e\uff0e/b", "ü", "'", '"', "<", "x\u202ey",
        "s3://", "s3:///models", "s3://../models", "a" * (MAX_ANNOTATION + 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("source", [WHOLE, f"s3://models/{WHOLE}", f"s3://models/x/{WHOLE}/y"])
def test_tricks_are_refused_without_repeating_them(source: str, value: str):
    with pytest.raises(InvalidArgument, match=rf"annotation {NAME}: ") as caught:
        spec(value, source, allowed="s3://**")
    assert len(value) < 4 or value not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "s3://other/qwen", "s3://models", "s3://models2/x", "s3://teams/rival/own", "s3://teams/chat/a/b", "hf://models/qwen",
        "https://169.254.169.254/latest", "qwen", "s3://key:s3cr3t@models/x", "s3://x@models/qwen",
    ],
)  # fmt: skip
def test_what_the_class_does_not_allow_is_refused(value: str):
    with pytest.raises(InvalidArgument, match=r"parameters\.source: ") as caught:
        spec(value)
    assert "s3cr3t" not in str(caught.value)


def test_a_source_that_is_not_allowed_is_told_with_those_that_are():
    with pytest.raises(InvalidArgument, match=r"is s3://other/x for this claim.*s3://models/\*\*, s3://teams/chat/\*"):
        spec("s3://other/x")


@given(st.text() | st.text("ab./:%$s3{}'~@", max_size=30) | st.from_regex(r"s3://[a-z]{1,6}/[a-z./%]{0,12}"))
def test_no_value_leaves_what_the_class_allows(value: str):
    try:
        made = spec(value)
    except InvalidArgument:
        return
    assert Selection(["s3://models/**", "s3://teams/chat/*"]).admits(str(made.source))
    assert not {"", ".", ".."} & set(made.source.path.split("/"))


@given(st.text() | st.text("ab./:%$s3{}'~@", max_size=30))
def test_no_value_leaves_its_place(value: str):
    try:
        made = spec(value, f"s3://models/a/{WHOLE}/z", allowed="s3://models/a/**")
    except InvalidArgument:
        return
    assert str(made.source) == f"s3://models/a/{value.removesuffix('/')}/z"


def test_an_annotation_that_is_not_there_yet_is_waited_for():
    with pytest.raises(ClaimIncomplete, match=f"no annotation {NAME}"):
        spec(None)


def test_a_class_has_to_say_what_claims_may_name():
    with pytest.raises(InvalidArgument, match=r"parameters\.allowedSources: is missing.*s3://models/\*\*"):
        spec("s3://models/qwen", allowed=None)


@pytest.mark.parametrize(
    "allowed", ["*.bin", "models/**", "s3://", "s3://a/../b", "s3://[", " , ", "s3://m/${pvc.uid}"]
)
def test_a_list_that_allows_nothing_sensible_is_refused(allowed: str):
    with pytest.raises(InvalidArgument, match=r"parameters\.allowedSources: "):
        spec("s3://models/qwen", allowed=allowed)


def test_an_annotation_is_no_part_of_what_is_allowed():
    with pytest.raises(InvalidArgument, match=r"parameters\.allowedSources: "):
        spec("s3://models/qwen", allowed=f"{WHOLE}, s3://x/{WHOLE}")


def test_what_is_allowed_holds_for_every_source():
    assert spec(None, "s3://models/qwen").source.path == "qwen"
    with pytest.raises(InvalidArgument, match="its class allows only"):
        spec(None, "s3://other/${pvc.name}")


def test_without_a_cluster_nobody_can_look_it_up():
    with pytest.raises(InvalidArgument, match="no cluster"):
        VolumeSpec.from_parameters({"source": WHOLE, "allowedSources": ALLOWED, **METADATA})


def test_annotations_that_are_not_used_are_not_looked_up():
    def fail():
        raise AssertionError

    parameters = {"source": "s3://models/${pvc.name}", **METADATA}
    assert VolumeSpec.from_parameters(parameters, annotations=fail).source.path == "qwen"


def test_annotations_are_looked_up_once():
    asked = iter([{NAME: "a"}])
    made = VolumeSpec.from_parameters(
        {"source": f"s3://models/{WHOLE}/{WHOLE}", "allowedSources": "s3://models/**"}, annotations=lambda: next(asked)
    )
    assert made.source.path == "a/a"


def test_a_volume_that_exists_keeps_its_source_whatever_the_annotation_says_now():
    made = spec("s3://models/qwen")
    assert spec("s3://models/other", made=made.source) == made
    assert spec(None, made=made.source) == made
    with pytest.raises(InvalidArgument, match="its class allows only"):
        spec(None, made=made.source, allowed="s3://other/**")


@pytest.mark.parametrize(
    "text",
    [
        "${pvc.annotations['']}", "${pvc.annotations[x]}", "${pvc.annotations['a b']}", '${pvc.annotations["a"]}',
        "${pvc.annotations['a/b/c']}", "${pvc.annotations['-a']}", "${pv.annotations['a']}", "${pvc.annotations['a'] }",
    ],
)  # fmt: skip
def test_what_is_no_annotation_is_an_unknown_variable(text: str):
    assert not uses_annotations(text)
    with pytest.raises(InvalidArgument, match="unknown variable"):
        spec("x", f"s3://models/{text}")


@given(st.text(), st.dictionaries(st.just(NAME) | st.text(), st.text()))
def test_any_template_is_expanded_or_one_of_our_errors(text: str, annotations: dict[str, str]):
    try:
        VolumeSpec.from_parameters(
            {"source": f"s3://models/{WHOLE}{text}", "allowedSources": "s3://**"}, annotations=lambda: annotations
        )
    except CsiModelError:
        return
