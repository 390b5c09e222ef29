"""The embedded S3 server, asked by boto3 and by hand."""

import io
import json
import signal
import subprocess
import sys
import time
import urllib.request
from urllib.error import HTTPError

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from csi_model.demo.s3server import S3Server
from tests.sources.conftest import ID, SECRET


def client_of(url, secret=SECRET):
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id=ID,
        aws_secret_access_key=secret,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


@pytest.fixture
def s3(server):
    client = client_of(server.url)
    yield client
    client.close()


def keys_of(answer):
    return [item["Key"] for item in answer.get("Contents", ())]


def code_of(caught):
    return caught.value.response["Error"]["Code"]


def test_what_is_put_is_got(s3):
    s3.put_object(Bucket="models", Key="dir/a b+c.bin", Body=b"weights")
    assert s3.get_object(Bucket="models", Key="dir/a b+c.bin")["Body"].read() == b"weights"


def test_a_file_is_uploaded_through_boto3s_transfer(s3):
    s3.upload_fileobj(io.BytesIO(b"x" * 100_000), "models", "a")
    assert s3.head_object(Bucket="models", Key="a")["ContentLength"] == 100_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [("bytes=0-0", b"0"), ("bytes=3-5", b"345"), ("bytes=7-", b"789"), ("bytes=-2", b"89"), ("bytes=8-99", b"89")],
)
def test_ranges_are_exact(s3, text, expected):
    s3.put_object(Bucket="models", Key="a", Body=b"0123456789")
    answer = s3.get_object(Bucket="models", Key="a", Range=text)
    assert answer["Body"].read() == expected
    assert answer["ContentRange"].endswith("/10")


def test_a_range_beyond_the_end_is_416(s3):
    s3.put_object(Bucket="models", Key="a", Body=b"0123")
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="models", Key="a", Range="bytes=4-9")
    assert code_of(caught) == "InvalidRange"


def test_a_condition_that_fails_is_412(s3):
    etag = s3.put_object(Bucket="models", Key="a", Body=b"old")["ETag"]
    s3.put_object(Bucket="models", Key="a", Body=b"new")
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="models", Key="a", IfMatch=etag)
    assert code_of(caught) == "PreconditionFailed"


def test_versions_outlive_overwriting_and_deleting(s3):
    first = s3.put_object(Bucket="versions", Key="a", Body=b"old")["VersionId"]
    s3.put_object(Bucket="versions", Key="a", Body=b"new")
    s3.delete_object(Bucket="versions", Key="a")
    assert s3.get_object(Bucket="versions", Key="a", VersionId=first)["Body"].read() == b"old"
    with pytest.raises(ClientError):
        s3.get_object(Bucket="versions", Key="a")


def test_a_deleted_version_is_gone(s3):
    first = s3.put_object(Bucket="versions", Key="a", Body=b"old")["VersionId"]
    s3.delete_object(Bucket="versions", Key="a", VersionId=first)
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="versions", Key="a", VersionId=first)
    assert code_of(caught) == "NoSuchVersion"


def test_pages_of_a_listing_join_up(s3, server):
    for name in "abcde":
        server.put("models", f"x/{name}", b"")
    pages = list(
        s3.get_paginator("list_objects_v2").paginate(Bucket="models", Prefix="x/", PaginationConfig={"PageSize": 2})
    )
    assert [keys_of(page) for page in pages] == [["x/a", "x/b"], ["x/c", "x/d"], ["x/e"]]


def test_a_delimiter_groups_across_pages(s3, server):
    for key in ("a/1", "a/2", "b", "c/1", "c/2", "d"):
        server.put("models", key, b"")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket="models", Delimiter="/", PaginationConfig={"PageSize": 1}
    )
    found = [keys_of(page) + [item["Prefix"] for item in page.get("CommonPrefixes", ())] for page in pages]
    assert found == [["a/"], ["b"], ["c/"], ["d"]]


def test_a_listing_starts_after_a_key(s3, server):
    for name in "abc":
        server.put("models", name, b"")
    assert keys_of(s3.list_objects_v2(Bucket="models", StartAfter="a")) == ["b", "c"]


def test_checksums_are_told_only_when_asked_for(s3, server):
    server.put("models", "a", b"123456789")
    assert "ChecksumCRC64NVME" not in s3.head_object(Bucket="models", Key="a")
    head = s3.head_object(Bucket="models", Key="a", ChecksumMode="ENABLED")
    assert (head["ChecksumCRC64NVME"], head["ChecksumType"]) == ("rosUhgp5mIg=", "FULL_OBJECT")  # the check value


def test_an_upload_that_does_not_match_its_checksum_is_refused(s3):
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket="models", Key="a", Body=b"1", ChecksumCRC32="AAAAAA==")
    assert code_of(caught) == "BadDigest"
    assert keys_of(s3.list_objects_v2(Bucket="models")) == []


def test_buckets_are_made(s3):
    s3.create_bucket(Bucket="fresh", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert s3.head_bucket(Bucket="fresh")
    assert keys_of(s3.list_objects_v2(Bucket="fresh")) == []


def test_a_wrong_secret_is_refused(server):
    client = client_of(server.url, "wrong")
    with pytest.raises(ClientError) as caught:
        client.list_objects_v2(Bucket="models")
    assert code_of(caught) == "SignatureDoesNotMatch"
    client.close()


def got(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read()


def test_a_signed_url_is_good_until_it_expires(s3, server):
    server.put("models", "a/ü?&=+ .bin", b"weights")
    url = s3.generate_presigned_url("get_object", {"Bucket": "models", "Key": "a/ü?&=+ .bin"}, ExpiresIn=60)
    assert got(url) == b"weights"
    server.clock = lambda: time.time() + 61
    with pytest.raises(HTTPError, match="403") as caught:
        got(url)
    assert b"Request has expired" in caught.value.read()


def test_a_signed_url_is_good_for_nothing_else(s3, server):
    server.put("models", "a", b"1")
    server.put("models", "b", b"2")
    url = s3.generate_presigned_url("get_object", {"Bucket": "models", "Key": "a"}).replace("/models/a?", "/models/b?")
    with pytest.raises(HTTPError, match="403") as caught:
        got(url)
    caught.value.close()


def test_unsigned_requests_see_what_is_public_and_nothing_else(server):
    server.put("open", "a", b"1")
    server.put("models", "a", b"1")
    assert got(f"{server.url}/open/a") == b"1"
    with pytest.raises(HTTPError, match="403") as caught:
        got(f"{server.url}/models/a")
    caught.value.close()


def test_every_request_is_noted(server):
    server.put("open", "a", b"123")
    with urllib.request.urlopen(
        urllib.request.Request(f"{server.url}/open/a", headers={"Range": "bytes=1-1"})
    ) as answer:
        assert answer.read() == b"2"
    assert server.requests == [("GET", "a", "bytes=1-1")]


def test_a_rate_is_kept(server):
    server.put("open", "a", b"x" * 2_000_000)
    server.rate = 10e6
    start = time.monotonic()
    got(f"{server.url}/open/a")
    assert time.monotonic() - start >= 0.2


def test_what_was_stored_is_there_after_a_restart(tmp_path):
    with S3Server(tmp_path) as server:
        server.create_bucket("models", versioned=True)
        first = server.put("models", "a", b"old")
        server.put("models", "a", b"new", checksum="sha256", part_size=2)
    with S3Server(tmp_path) as server:
        assert got(f"{server.url}/models/a?versionId={first.version}") == b"old"
        assert server.put("models", "b", b"").version == "v0000000003"
        assert [size for size, _ in server.buckets["models"].get("a").parts] == [2, 1]


def test_it_runs_as_a_process_and_ends_on_sigterm(tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, "-m", "csi_model.demo.s3server", "--dir", str(tmp_path / "d"), "--bucket", "open:public"]
    with subprocess.Popen(
        [*command, "--key", f"{ID}:{SECRET}", "--log", str(log)], stdout=subprocess.PIPE, text=True
    ) as process:
        client = client_of(process.stdout.readline().strip())
        client.put_object(Bucket="open", Key="a", Body=b"1")
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert [json.loads(line) for line in log.read_text().splitlines()] == [
        {"method": "PUT", "bucket": "open", "key": "a", "range": None, "status": 200}
    ]
