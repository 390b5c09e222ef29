import pytest

from csi_model.core.allow import Allowed, covers
from csi_model.core.volume import VolumeSpec
from csi_model.errors import InvalidArgument


def spec(source="s3://models/qwen3-8b", **fields):
    return VolumeSpec.from_context({"source": source, **fields})


def refusal(allowed, asked):
    with pytest.raises(InvalidArgument) as caught:
        allowed.check(asked, "volumeAttributes.source")
    return str(caught.value)


def test_nothing_is_allowed_by_default():
    assert "has allowed no sources yet" in refusal(Allowed(), spec())


def test_a_source_alone_is_not_enough():
    assert "has allowed no endpoints yet" in refusal(Allowed(("s3://models/**",)), spec())


def test_both_together_are():
    Allowed(("s3://models/**",), ("default",)).check(spec(), "source")
    Allowed(("s3://other/*", "s3://models/*"), ("http://x", "http://minio:9000")).check(
        spec(endpoint="http://minio:9000"), "source"
    )


@pytest.mark.parametrize(
    "source",
    ["s3://models2/x", "s3://models", "s3://secret/models/x", "s3://models.evil/x", "hf://models/x", "s3://models/a/b"],
)
def test_a_glob_covers_no_more_than_it_says(source):
    text = refusal(Allowed(("s3://models/*",), ("default",)), spec(source))
    assert source in text
    assert "s3://models/*" in text


def test_the_clouds_own_endpoint_is_allowed_by_a_word_and_nothing_else():
    for endpoints in (("https://*",), ("https://s3.amazonaws.com",)):
        assert "the cloud's own" in refusal(Allowed(("s3://models/**",), endpoints), spec())


def test_the_word_allows_no_other_endpoint():
    assert "http://169.254.169.254" in refusal(
        Allowed(("s3://models/**",), ("default",)), spec(endpoint="http://169.254.169.254")
    )


@pytest.mark.parametrize(
    ("pattern", "endpoint"),
    [
        ("https://minio.example.com", "https://MINIO.example.com:443/"),
        ("https://minio.example.com:443/", "https://minio.example.com"),
        ("http://minio", "http://minio:80"),
        ("https://*.example.com", "https://a.b.example.com"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("http://minio-?:9000", "http://minio-0:9000"),
    ],
)
def test_endpoints_are_compared_in_one_spelling(pattern, endpoint):
    Allowed(("s3://models/**",), (pattern,)).check(spec(endpoint=endpoint), "source")


@pytest.mark.parametrize(
    ("pattern", "endpoint"),
    [
        ("https://minio.example.com", "http://minio.example.com"),
        ("https://minio.example.com", "https://minio.example.com:9000"),
        ("https://minio.example.com", "https://minio.example.com.evil.org"),
        ("https://*.example.com", "https://example.com"),
        ("https://*.example.com", "https://evil.org\\.example.com"),
        ("https://*.example.com", "https://evil.org%2f.example.com"),
        ("http://minio:80", "https://minio:80"),
    ],
)
def test_another_endpoint_is_refused(pattern, endpoint):
    refusal(Allowed(("s3://models/**",), (pattern,)), spec(endpoint=endpoint))


@pytest.mark.parametrize("source", ["qwen", "*", "**", "", "s3://", "/s3://x", "s3://models/[", "s3://models/../x"])
def test_a_malformed_source_is_refused_at_once(source):
    with pytest.raises(InvalidArgument, match="allow-list"):
        Allowed((source,))


@pytest.mark.parametrize(
    "endpoint", ["", "aws", "minio:9000", "https://", "https://u:p@minio", "ftp://minio", "http://a/b"]
)
def test_a_malformed_endpoint_is_refused_at_once(endpoint):
    with pytest.raises(InvalidArgument, match="allow-list"):
        Allowed((), (endpoint,))


def test_no_globs_cover_nothing():
    assert not covers((), spec())
    assert covers(("s3://models/**",), spec())
