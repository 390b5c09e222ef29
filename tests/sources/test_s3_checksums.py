"""Which of the checksums that S3 states become an Entry's Checksum."""

import base64
import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.core.checksum import Algorithm, Checksum
from csi_model.sources.s3_checksums import checksum_of
from tests.contracts.source_contract import resolve

DATA = bytes(range(256)) * 100
PARTS = [DATA[start : start + 10_000] for start in range(0, len(DATA), 10_000)]


@pytest.fixture
def place(place_in):
    return place_in("models")


def stated(place, **how):
    place.put("qwen/a", DATA, **how)
    return resolve(place).entries[0].checksum


def never():
    raise AssertionError("nobody needs the parts")


def head(**fields):
    return {"ContentLength": len(DATA), **fields}


def text(data):
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_flat_hash_is_taken(place, algorithm):
    assert stated(place, checksum=algorithm) == Checksum(Algorithm(algorithm), hashlib.new(algorithm, DATA).hexdigest())


@pytest.mark.parametrize("algorithm", ["crc64nvme", "crc32c", "crc32"])
def test_a_flat_crc_is_taken(place, algorithm):
    found = stated(place, checksum=algorithm)
    assert (found.algorithm, found.composite) == (algorithm, False)


def test_a_crc_is_the_big_endian_value(place):
    assert stated(place, checksum="crc32").value == f"{zlib.crc32(DATA):08x}"


@pytest.mark.parametrize("algorithm", ["crc64nvme", "crc32c", "crc32", "sha1", "sha256"])
def test_a_composite_comes_with_its_part_boundaries(place, algorithm):
    found = stated(place, checksum=algorithm, part_size=10_000)
    assert (found.algorithm, found.parts) == (algorithm, ((10_000, 2), (5_600, 1)))


def test_a_composite_is_the_hash_of_the_parts_hashes(place):
    inner = b"".join(hashlib.sha256(part).digest() for part in PARTS)
    assert stated(place, checksum="sha256", part_size=10_000).value == hashlib.sha256(inner).hexdigest()


def test_a_composite_of_one_part_needs_no_more_requests(place, server):
    found = stated(place, checksum="sha256", part_size=len(DATA))
    assert found.parts == ((len(DATA), 1),)
    assert len(server.requests) == 3


def test_more_than_a_page_of_parts_is_asked_for(place):
    assert stated(place, checksum="crc32", part_size=20).parts == ((20, 1280),)


def test_a_composite_without_boundaries_is_only_pinned():
    assert checksum_of(head(ChecksumCRC32="AAAAAA==-3"), "b", lambda: None) is None


@pytest.mark.parametrize("sizes", [[10_000, 15_600], [10_000, 10_000, 5_601], [25_600, 0, 0], []])
def test_boundaries_that_do_not_fit_are_not_believed(sizes):
    assert checksum_of(head(ChecksumCRC32="AAAAAA==-3"), "b", lambda: sizes) is None


def test_the_type_tells_a_composite_without_a_count():
    fields = head(ChecksumCRC32="AAAAAA==", ChecksumType="COMPOSITE")
    assert checksum_of(fields, "b", lambda: [25_000, 600]).parts == ((25_000, 1), (600, 1))


def test_a_flat_checksum_goes_before_a_composite_one():
    fields = head(ChecksumCRC64NVME="AAAAAAAAAAA=-3", ChecksumSHA256=text(bytes(32)))
    assert checksum_of(fields, "b", never).algorithm == Algorithm.SHA256


def test_the_cheapest_flat_checksum_goes_first():
    fields = head(ChecksumSHA256=text(bytes(32)), ChecksumCRC32="AAAAAA==", ChecksumCRC64NVME=text(bytes(8)))
    assert checksum_of(fields, "b", never).algorithm == Algorithm.CRC64NVME


def test_an_md5_etag_is_taken_where_there_is_nothing_else(place):
    assert stated(place, checksum=None) == Checksum(Algorithm.MD5, hashlib.md5(DATA).hexdigest())


def test_the_etag_of_a_multipart_upload_is_no_md5(place):
    assert stated(place, checksum=None, part_size=10_000) is None


def test_the_etag_of_an_object_encrypted_with_kms_is_no_md5(place):
    assert stated(place, checksum=None, headers={"x-amz-server-side-encryption": "aws:kms"}) is None


def test_the_etag_of_an_object_encrypted_by_s3_itself_is_an_md5(place):
    assert stated(place, checksum=None, headers={"x-amz-server-side-encryption": "AES256"}) is not None


def test_the_etag_of_an_object_encrypted_with_a_customers_key_is_no_md5():
    fields = head(ETag=f'"{"0" * 32}"', SSECustomerAlgorithm="AES256")
    assert checksum_of(fields, "b", never) is None


def test_the_etag_in_a_directory_bucket_is_no_md5():
    fields = head(ETag=f'"{"0" * 32}"')
    assert checksum_of(fields, "b--use1-az4--x-s3", never) is None
    assert checksum_of(fields, "b", never) is not None


@given(st.dictionaries(st.sampled_from(["ChecksumCRC32", "ChecksumSHA256", "ChecksumType", "ETag"]), st.text()))
def test_nonsense_is_never_more_than_no_checksum(fields):
    found = checksum_of(head(**fields), "b", lambda: None)
    assert found is None or isinstance(found, Checksum)


def test_a_server_that_refuses_checksums_still_pins(place, server, monkeypatch):
    place.put("qwen/a", DATA)
    real = server.denies

    def only_checksums(method, bucket, key):
        return (method, key, len(server.requests)) == ("HEAD", "qwen/a", 1) or real(method, bucket, key)

    monkeypatch.setattr(server, "denies", only_checksums)
    assert resolve(place).entries[0].checksum.algorithm == Algorithm.MD5
