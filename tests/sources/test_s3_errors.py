"""What S3 servers answer when they don't answer with what was asked, and how it is told."""

import pytest
from botocore import exceptions as boto

from csi_model.core.reference import Reference
from csi_model.errors import (
    InvalidArgument,
    SourceBusy,
    SourceDenied,
    SourceInvalid,
    SourceNotFound,
    SourceUnauthenticated,
    SourceUnavailable,
)
from csi_model.sources.base import Access
from csi_model.sources.http_refusals import Refusal
from csi_model.sources.s3 import S3Source
from csi_model.sources.s3_errors import explain, s3_errors
from tests.contracts.source_contract import ALL
from tests.fakes import misbehaving_server as bad
from tests.fakes.misbehaving_server import MisbehavingServer
from tests.sources.conftest import SECRETS


def document(code, **fields):
    fields = {"Code": code, "Message": f"The message of {code}", **fields}
    return f"<Error>{''.join(f'<{name}>{text}</{name}>' for name, text in fields.items())}</Error>".encode()


def resolving(*script, **access):
    with MisbehavingServer(*script) as server:
        source = S3Source(Reference.parse("s3://b"), Access(**{"endpoint": server.url, "secrets": SECRETS, **access}))
        try:
            return source.resolve(Reference.parse("s3://b/qwen"), ALL)
        finally:
            source.close()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", SourceDenied),
        (403, "InvalidAccessKeyId", SourceUnauthenticated),
        (403, "SignatureDoesNotMatch", SourceUnauthenticated),
        (400, "ExpiredToken", SourceUnauthenticated),
        (403, "RequestTimeTooSkewed", SourceUnauthenticated),
        (404, "NoSuchBucket", SourceNotFound),
        (400, "InvalidRequest", SourceInvalid),
        (405, "MethodNotAllowed", SourceInvalid),
        (403, "SomethingNew", SourceInvalid),
    ],
)
def test_each_code_has_its_type_and_names_the_place(status, code, kind):
    with pytest.raises(kind, match=f"s3://b.*{code}: The message of") as caught:
        resolving(bad.status(status, document(code)))
    assert type(caught.value) is kind


@pytest.fixture
def no_waiting(monkeypatch):
    """Botocore's own pauses between attempts are not what is tested."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (503, "SlowDown", SourceBusy),
        (500, "InternalError", SourceUnavailable),
        (502, "Strange", SourceUnavailable),
    ],
)
def test_what_may_pass_is_unavailable(status, code, kind):
    with pytest.raises(kind) as caught:
        resolving(bad.status(status, document(code)))
    assert type(caught.value) is kind


@pytest.mark.usefixtures("no_waiting")
def test_busy_says_how_long_to_wait():
    with pytest.raises(SourceBusy) as caught:
        resolving(bad.status(503, document("SlowDown"), Retry_After="9"))
    assert caught.value.retry_after == 9


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("behaviour", [bad.reset, bad.garbage])
def test_no_answer_is_unavailable(behaviour):
    with pytest.raises(SourceUnavailable, match="s3://b"):
        resolving(behaviour)


def test_another_region_is_named():
    answer = bad.status(400, document("AuthorizationHeaderMalformed", Region="eu-central-1"))
    with pytest.raises(SourceInvalid, match="set region to eu-central-1"):
        resolving(answer)


@pytest.mark.usefixtures("no_waiting")
def test_a_listing_that_is_no_xml_is_no_listing():
    with pytest.raises((SourceInvalid, SourceUnavailable)):
        resolving(bad.status(200, b"<html>welcome"))


def test_a_listing_of_what_was_not_asked_for_is_invalid():
    page = b"<ListBucketResult><Contents><Key>other/a</Key><Size>1</Size></Contents></ListBucketResult>"
    with pytest.raises(SourceInvalid, match="'other/a', which doesn't lie below"):
        resolving(bad.status(200, page))


def test_a_listing_that_goes_round_in_circles_is_invalid():
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>"
        b"<Contents><Key>qwen/a</Key><Size>1</Size></Contents></ListBucketResult>"
    )
    with pytest.raises(SourceInvalid, match="makes no sense"):
        resolving(bad.status(200, page))


def test_an_object_without_any_validator_is_invalid():
    page = b"<ListBucketResult><Contents><Key>qwen/a</Key><Size>1</Size></Contents></ListBucketResult>"
    with pytest.raises(SourceInvalid, match="can't be pinned"):
        resolving(bad.status(200, page), bad.status(200))


@pytest.mark.parametrize("secret", ["no\x00key", "schlüssel"])
def test_a_secret_that_can_be_none_is_named_and_not_shown(secret):
    with pytest.raises(SourceUnauthenticated, match="secretAccessKey") as caught:
        resolving(secrets={**SECRETS, "secretAccessKey": secret})
    assert secret not in str(caught.value)


def test_a_malformed_endpoint_is_an_invalid_argument():
    with pytest.raises(InvalidArgument, match=r"parameters\.endpoint"):
        resolving(endpoint="https://" + "a" * 80 + ".example.com")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (boto.NoCredentialsError(), SourceUnauthenticated),
        (boto.CredentialRetrievalError(provider="x", error_msg="y"), SourceUnauthenticated),
        (boto.ProfileNotFound(profile="x"), SourceUnauthenticated),
        (boto.SSLError(endpoint_url="https://h/?sig=1", error="bad"), SourceUnavailable),
        (boto.ConnectTimeoutError(endpoint_url="https://h/?sig=1"), SourceUnavailable),
        (boto.ReadTimeoutError(endpoint_url="https://h/?sig=1"), SourceUnavailable),
        (boto.ProxyConnectionError(proxy_url="http://p/?sig=1"), SourceUnavailable),
        (boto.ParamValidationError(report="x"), InvalidArgument),
    ],
)
def test_each_failure_of_botocore_has_its_type(error, kind):
    with pytest.raises(kind, match="s3://b") as caught, s3_errors("s3://b"):
        raise error
    assert "sig=1" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"not xml", b"<Error>", b"<Error><Code>AccessDenied</Code></Error>", b"<a/>"])
def test_a_refused_read_without_a_telling_code_is_left_to_its_status(body):
    assert explain(Refusal("u", 403, {}, body)) is None


def test_a_refused_read_with_an_expired_token_is_unauthenticated():
    error = explain(Refusal("http://h/b/k", 400, {}, document("ExpiredToken")))
    assert isinstance(error, SourceUnauthenticated)
    assert "http://h/b/k" in str(error)
