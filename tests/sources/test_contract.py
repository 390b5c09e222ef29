"""The Source contract, passed by the fake, by S3 over the embedded server, and by S3 over moto."""

import uuid

import boto3
import pytest
from botocore.config import Config

from csi_model.core.reference import Reference
from tests.contracts.source_contract import SourceContract
from tests.fakes.source import FakeSource
from tests.sources.conftest import S3Place


class FakePlace:
    def __init__(self, *, versioned=False):
        self.fake = FakeSource(versioned=versioned)

    def reference(self, path):
        return Reference.parse(f"s3://models/{path}")

    def source(self):
        return self.fake

    def source_origin(self):
        return "fake:models"

    def put(self, path, data):
        self.fake.files[path] = data

    put_raw = put

    def delete(self, path):
        del self.fake.files[path]


class TestFakeSource(SourceContract):
    @pytest.fixture
    def place(self):
        return FakePlace()

    @pytest.fixture
    def versioned_place(self):
        return FakePlace(versioned=True)


class TestS3OverTheEmbeddedServer(SourceContract):
    @pytest.fixture
    def place(self, place_in):
        return place_in("models")

    @pytest.fixture
    def versioned_place(self, place_in):
        return place_in("versions")


class TestS3OverMoto(SourceContract):
    @pytest.fixture
    def client(self, moto):
        client = boto3.client(
            "s3",
            endpoint_url=moto,
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="y",
            config=Config(s3={"addressing_style": "path"}),
        )
        yield client
        client.close()

    def _place(self, moto, client, bucket):
        client.create_bucket(Bucket=bucket)
        return S3Place(
            moto,
            lambda path, data: client.put_object(Bucket=bucket, Key=path, Body=data),
            lambda path: client.delete_object(Bucket=bucket, Key=path),
            bucket,
        )

    @pytest.fixture
    def place(self, moto, client):
        place = self._place(moto, client, f"plain-{uuid.uuid4().hex}")
        yield place
        place.close()

    @pytest.fixture
    def versioned_place(self, moto, client):
        place = self._place(moto, client, f"versions-{uuid.uuid4().hex}")
        client.put_bucket_versioning(Bucket=place.bucket, VersioningConfiguration={"Status": "Enabled"})
        yield place
        place.close()
