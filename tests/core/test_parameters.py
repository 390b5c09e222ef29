from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.core.fields import FIELDS, Auth, render
from csi_model.core.naming import check_name, volume_id_of
from csi_model.core.reference import Reference
from csi_model.core.templates import VARIABLES, expand
from csi_model.core.volume import SCHEMA, VolumeSpec
from csi_model.errors import InvalidArgument

SOURCE = {"source": "s3://models/qwen"}
VALUES = {
    "source": st.sampled_from(["s3://models/qwen", "s3://models", "s3://m/a/b c/ü/", " s3://m/x "]),
    "endpoint": st.sampled_from(["http://localhost:9000/", "https://minio.example.com", "http://[::1]:80"]),
    "region": st.sampled_from(["eu-central-1", "a"]),
    "addressing": st.sampled_from(["auto", "path", "virtual"]),
    "auth": st.sampled_from(["secret", "ambient", "anonymous"]),
    "include": st.lists(st.sampled_from(["*.bin", "a/**", "[a-z]?", " x "]), min_size=1, max_size=3).map(",".join),
    "exclude": st.just("a\n b ,\n,c"),
    "placement": st.sampled_from(["prefer", "any"]),
    "warmReplicas": st.just("0"),
    "warmNodeSelector": st.sampled_from(["", "gpu=h100", "b=c, example.com/a=b"]),
    "pin": st.sampled_from(["true", "false"]),
    "allowedSources": st.sampled_from(["s3://**", "s3://m/**\n,s3://models,s3://models/*"]),
}
PARAMETERS = st.fixed_dictionaries({"source": VALUES.pop("source")}, optional=VALUES)


def metadata(name: str = "qwen", namespace: str = "chat", volume: str = "pvc-1") -> dict[str, str]:
    return dict(zip(VARIABLES.values(), (name, namespace, volume), strict=True))


def spec(**parameters: str) -> VolumeSpec:
    return VolumeSpec.from_parameters({**SOURCE, **parameters})


@given(PARAMETERS)
def test_a_spec_survives_the_volume_context(parameters: dict[str, str]):
    made = VolumeSpec.from_parameters(parameters)
    assert VolumeSpec.from_context(made.context()) == made
    assert VolumeSpec.from_context({**made.context(), "storage.kubernetes.io/csiProvisionerIdentity": "x"}) == made


@given(st.fixed_dictionaries({}, optional={name: st.text() for name in FIELDS}))
def test_any_text_gives_a_spec_that_survives_or_an_invalid_argument(parameters: dict[str, str]):
    try:
        made = VolumeSpec.from_parameters(parameters)
        context = made.context()
    except InvalidArgument:
        return
    assert VolumeSpec.from_context(context) == made


@given(
    st.text(st.characters(codec="utf-8")).map("s3://b/".__add__),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.text("ab.:@/[]?#%\t ", max_size=9).map("http://".__add__),
)
def test_texts_that_nearly_fit_survive_too(source: str, include: str, endpoint: str):
    for parameters in ({"source": source}, {**SOURCE, "include": include}, {**SOURCE, "endpoint": endpoint}):
        try:
            made = VolumeSpec.from_parameters(parameters)
        except InvalidArgument:
            continue
        assert VolumeSpec.from_context(made.context()) == made


def test_defaults_take_no_room_in_the_context():
    assert spec(auth="secret", pin="false", addressing="auto").context() == {"schema": SCHEMA, **SOURCE}


def test_a_context_that_csi_would_not_carry_is_refused():
    globs = ",".join(f"{number:03}" + "x" * 200 for number in range(30))
    with pytest.raises(InvalidArgument, match="4096"):
        spec(include=globs).context()


@pytest.mark.parametrize("schema", ["0", "2", ""])
def test_a_context_of_another_version_is_refused(schema: str | None):
    with pytest.raises(InvalidArgument, match=r"volume_context\.schema"):
        VolumeSpec.from_context({**SOURCE, **({} if schema is None else {"schema": schema})})


@pytest.mark.parametrize(
    ("unknown", "near"),
    [
        ("sources", "source"),
        ("endpont", "endpoint"),
        ("Region", "region"),
        ("includes", "include"),
        ("authn", "auth"),
        ("warmreplicas", "warmReplicas"),
        ("allowedSource", "allowedSources"),
    ],
)
def test_an_unknown_parameter_suggests_the_nearest(unknown: str, near: str):
    with pytest.raises(
        InvalidArgument, match=rf"parameters\.{unknown}: .*did you mean '{near}'\?.*allowed are source, "
    ):
        spec(**{unknown: "x"})


def test_a_parameter_like_no_other_suggests_nothing():
    with pytest.raises(InvalidArgument) as caught:
        spec(zzzzzz="x")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("auth", "root", "secret, ambient, anonymous"),
        ("pin", "yes", "true, false"),
        ("addressing", "", "auto, path, virtual"),
        ("placement", "required", "prefer, require, any"),
        ("warmReplicas", "some", "want a number of nodes or all"),
        ("warmNodeSelector", "gpu", "want label=value"),
        ("allowedSources", "*.bin", "want e.g. s3://models"),
        ("region", "eu central", "region name"),
        ("include", " , ", "1 to 64 globs"),
        ("include", "a,../b", r"no '\.' or '\.\.'"),
        ("exclude", "[", "without"),
        ("endpoint", "minio.example.com", "URL of a host"),
        ("endpoint", "ftp://x", "URL of a host"),
        ("endpoint", "http://", "URL of a host"),
        ("endpoint", "http://x/bucket", "the bucket belongs into source"),
        ("endpoint", "http://x:port", "parameters.endpoint"),
        ("endpoint", "http://[::1", "parameters.endpoint"),
        ("endpoint", "http://ho\nst", "white space"),
        ("source", "", "is empty"),
        ("source", "/models/qwen", "scheme://"),
        ("source", "s3:///qwen", "scheme://"),
        ("source", "s3://models/../other", "dot segments"),
        ("source", "s3://models//qwen", "empty"),
        ("source", "s3://models/a\x00b", "control characters"),
        ("source", "s3://models/" + "x" * 2000, "bytes"),
        ("source", "s3://models/x /", "white space"),
        ("source", "s3://models/\ud800", "surrogates"),
    ],
)
def test_a_malformed_value_is_named_with_what_is_allowed(name: str, value: str, told: str):
    with pytest.raises(InvalidArgument, match=told) as caught:
        spec(**{name: value})
    assert caught.value.field == f"parameters.{name}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("endpoint", "https://key:s3cr3t@minio.example.com"),
        ("endpoint", "htps://key:s3cr3t@minio.example.com"),
        ("endpoint", "https://minio.example.com/?X-Amz-Signature=s3cr3t"),
        ("endpoint", "ftp://minio.example.com/#s3cr3t"),
        ("source", "s3://key:s3cr3t@models/qwen"),
        ("source", "S3://key:s3cr3t@models/qwen"),
        ("source", "s3://key:s3cr3t@models/../x"),
    ],
)
def test_credentials_in_a_value_are_refused_and_not_repeated(name: str, value: str):
    with pytest.raises(InvalidArgument) as caught:
        spec(**{name: value})
    assert "Secret" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["s3://models/qwen", "hf://org/name@rev", "hf://name@rev", "oci://registry:5000/a/b:tag"]
)
def test_a_reference_is_its_text(text: str):
    assert str(Reference.parse(text)) == text


@given(st.text())
def test_an_accepted_endpoint_is_what_urlsplit_sees(text: str):
    try:
        endpoint = spec(endpoint=f"http://{text}").endpoint
    except InvalidArgument:
        return
    assert urlsplit(endpoint).geturl() == endpoint


def test_templates_are_replaced_by_the_claims_words():
    made = VolumeSpec.from_parameters({"source": "s3://m/${pvc.namespace}/${pvc.name}/${pv.name}", **metadata()})
    assert str(made.source) == "s3://m/chat/qwen/pvc-1"
    assert made.from_claim
    assert not spec().from_claim


@pytest.mark.parametrize(
    "value", ["..", ".", "../x", "a/../b", "a/b", "a..b", "", "A", "a ", "a\n", "-a", "a-", "${pv.name}", "x" * 254]
)
def test_a_value_that_is_no_object_name_is_refused(value: str):
    with pytest.raises(InvalidArgument, match=r"parameters\.source"):
        expand("s3://m/${pvc.name}", metadata(name=value))


@pytest.mark.parametrize("text", ["${pvc.nam}", "${}", "${pvc.name", "${ pvc.name }", "${${pvc.name}}", "$${pvc.uid}"])
def test_an_unknown_or_open_variable_is_refused(text: str):
    with pytest.raises(InvalidArgument, match="variable"):
        expand(f"s3://m/{text}", metadata())


def test_a_call_without_the_claims_words_says_what_to_switch_on():
    with pytest.raises(InvalidArgument, match="--extra-create-metadata"):
        expand("s3://m/${pvc.name}", {})


@given(st.text(), st.text(), st.text())
def test_no_value_escapes_its_place(name: str, namespace: str, volume: str):
    text = "s3://m/a/${pvc.namespace}/${pvc.name}/${pv.name}/z"
    try:
        made = VolumeSpec.from_parameters({"source": text, **metadata(name, namespace, volume)})
    except InvalidArgument:
        return
    assert made.source.path == f"a/{namespace}/{name}/{volume}/z"
    assert made.source.path.count("/") == 4


def test_keys_of_the_provisioner_are_no_parameters():
    assert spec(**{"csi.storage.k8s.io/fstype": "ext4", **metadata()}) == spec()


@pytest.mark.parametrize("name", ["", "x" * 129, "ü" * 65, "a\nb"[:1] + "\x00", "\x7f", "\x9f", "\ud800"])
def test_a_name_that_csi_forbids_is_refused(name: str):
    with pytest.raises(InvalidArgument, match="name"):
        check_name(name)


@given(st.text(min_size=1, max_size=128))
def test_an_accepted_name_gives_an_id_that_fits(name: str):
    try:
        check_name(name)
    except InvalidArgument:
        return
    assert len(volume_id_of(name)) == 42
    assert volume_id_of(name) != volume_id_of(name + "x")


def test_the_page_about_parameters_is_up_to_date():
    page = Path(__file__).parents[2] / "docs" / "parameters.md"
    assert page.read_text() == render(), "run `python -m csi_model.core.fields > docs/parameters.md`"


def test_the_page_names_every_parameter_and_only_valid_ones():
    page = render()
    assert all(f"| `{name}` |" in page for name in FIELDS)
    assert all(f"auth: {auth}" in page for auth in Auth)
