"""Places that the Source contract runs on, and what S3 tests share."""

import os

import pytest
from moto.server import ThreadedMotoServer

from csi_model.core.reference import Reference
from csi_model.demo.s3server import S3Server
from csi_model.demo.s3server_auth import Key
from csi_model.sources.base import Access
from csi_model.sources.s3 import S3Source

ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMIsecret"
SECRETS = {"accessKeyId": ID, "secretAccessKey": SECRET}


class S3Place:
    """A bucket on some server; closes the sources that it gave."""

    def __init__(self, url, put, delete, bucket="models"):
        self.url, self.bucket = url, bucket
        self._put, self._delete = put, delete
        self._given = []

    def reference(self, path):
        return Reference.parse(f"s3://{self.bucket}/{path}")

    def source(self, **changes):
        access = Access(**{"endpoint": self.url, "secrets": SECRETS, **changes})
        self._given.append(S3Source(Reference.parse(f"s3://{self.bucket}"), access))
        return self._given[-1]

    def source_origin(self):
        return f"s3:{self.url}/{self.bucket}"

    def put(self, path, data, **how):
        self._put(path, data, **how)

    put_raw = put

    def delete(self, path):
        self._delete(path)

    def close(self):
        for source in self._given:
            source.close()


@pytest.fixture(autouse=True)
def nobody_else_credentials(monkeypatch):
    """No test sees the credentials, settings or proxies of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


@pytest.fixture
def server(tmp_path):
    with S3Server(tmp_path / "s3", keys={ID: Key(SECRET)}) as server:
        server.create_bucket("models")
        server.create_bucket("versions", versioned=True)
        server.create_bucket("open", public=True)
        yield server


@pytest.fixture
def place_in(server):
    given = []

    def make(bucket):
        def put(path, data, **how):
            server.put(bucket, path, data, **how)

        given.append(S3Place(server.url, put, lambda path: server.delete(bucket, path), bucket))
        return given[-1]

    yield make
    for place in given:
        place.close()


@pytest.fixture(scope="session")
def moto():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
