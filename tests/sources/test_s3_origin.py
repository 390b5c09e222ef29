"""Origins and the catalog: equal places have equal texts, different ones never do."""

import pytest

from csi_model.core.reference import Reference
from csi_model.core.volume import VolumeSpec
from csi_model.errors import InvalidArgument
from csi_model.sources.catalog import open_source
from csi_model.sources.s3_client import origin_of


@pytest.mark.parametrize(
    ("endpoint", "region", "origin"),
    [
        ("", "", "s3:aws/b"),
        ("", "eu-central-1", "s3:aws/b"),
        ("https://s3.eu-central-1.amazonaws.com", "", "s3:aws/b"),
        ("https://s3.dualstack.us-east-1.amazonaws.com:443/", "", "s3:aws/b"),
        ("http://s3.eu-central-1.amazonaws.com", "", "s3:http://s3.eu-central-1.amazonaws.com/b"),
        ("https://s3.eu-central-1.amazonaws.com.evil.com", "", "s3:https://s3.eu-central-1.amazonaws.com.evil.com/b"),
        ("", "cn-north-1", "s3:aws:cn-north-1/b"),
        ("", "us-gov-west-1", "s3:aws:us-gov-west-1/b"),
        ("https://MinIO.Example.com:9000", "", "s3:https://minio.example.com:9000/b"),
        ("https://minio.example.com:443/", "x", "s3:https://minio.example.com/b"),
        ("http://minio.example.com.:80", "", "s3:http://minio.example.com/b"),
        ("http://[::1]:9000", "", "s3:http://[::1]:9000/b"),
    ],
)
def test_an_origin_names_the_place_and_not_its_spelling(endpoint, region, origin):
    assert origin_of(endpoint, region, "b") == origin


def spec(source, **changes):
    return VolumeSpec(Reference.parse(source), **changes)


def test_the_catalog_opens_s3():
    source = open_source(spec("s3://models/qwen", endpoint="http://127.0.0.1:1"), {"accessKeyId": "x"})
    assert source.origin == "s3:http://127.0.0.1:1/models"
    source.close()


def test_an_unknown_scheme_is_named_with_those_that_are_known():
    with pytest.raises(InvalidArgument, match=r"parameters\.source: begins with ftp://, known are s3://"):
        open_source(spec("ftp://models/qwen"), {})


def test_secrets_reach_a_source_only_where_auth_says_so():
    source = open_source(spec("s3://models/qwen", auth="anonymous"), {"accessKeyId": "x"})
    assert source._access.secrets == {}
    source.close()
