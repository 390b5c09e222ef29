"""The Source contract, passed by S3 over TLS through workers; and a whole transfer through them."""

from contextlib import closing, contextmanager

import pytest

from csi_model.core.globs import Selection
from csi_model.core.reference import Reference
from csi_model.demo.s3server import S3Server
from csi_model.demo.s3server_auth import Key
from csi_model.settings import StoreSettings
from csi_model.sources.base import Access
from csi_model.sources.s3 import S3Source
from csi_model.sources.shared import SharedBuffer
from csi_model.sources.workers import Workers
from csi_model.store.store import Store
from tests.contracts.source_contract import SourceContract
from tests.sources.certificates import make_certificate
from tests.sources.conftest import ID, SECRET, SECRETS, S3Place
from tests.transfer.bringing import bring, content, engine_on, here, nothing_in_use, quick


@pytest.fixture(scope="module")
def workers():
    with closing(Workers(2, 4)) as workers:
        yield workers


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def server(tmp_path, certificate):
    with S3Server(tmp_path / "s3", keys={ID: Key(SECRET)}, tls=certificate[1]) as server:
        server.create_bucket("models")
        server.create_bucket("versions", versioned=True)
        yield server


class SharedReader:
    """Reads into shared memory and hands on copies, as the contract's tests bring memory of their own."""

    def __init__(self, reader):
        self._reader = reader

    def read(self, start, views, abort=None):
        places, size = {}, 0
        for view in views:
            if id(view) not in places:
                places[id(view)] = size
                size += len(view)
        whole = memoryview(SharedBuffer(size))
        shared = [whole[places[id(view)] :][: len(view)] for view in views]
        with closing(self._reader.read(start, shared, abort)) as blocks:
            for view, block in zip(views, blocks, strict=True):
                view[:] = block
                yield view


class SharedSource(S3Source):
    @contextmanager
    def open(self, entry):
        with super().open(entry) as reader:
            yield SharedReader(reader)


class Place(S3Place):
    def __init__(self, server, bucket, certificate, workers):
        super().__init__(
            server.url,
            lambda path, data: server.put(bucket, path, data),
            lambda path: server.delete(bucket, path),
            bucket,
        )
        self._access = Access(endpoint=server.url, secrets=SECRETS, ca_bundle=certificate[0])
        self._workers = workers

    def source(self):
        source = SharedSource(Reference.parse(f"s3://{self.bucket}"), self._access, workers=self._workers)
        self._given.append(source)
        return source


class TestS3ThroughWorkers(SourceContract):
    @pytest.fixture
    def place_in(self, server, certificate, workers):
        with contextmanager(lambda: (yield []))() as given:

            def make(bucket):
                given.append(Place(server, bucket, certificate, workers))
                return given[-1]

            yield make
            for place in given:
                place.close()

    @pytest.fixture
    def place(self, place_in):
        return place_in("models")

    @pytest.fixture
    def versioned_place(self, place_in):
        return place_in("versions")


def test_a_transfer_through_workers_is_whole(tmp_path, server, certificate, workers):
    files = {"big": content(40_000_000), "even": content(33_554_432, seed=1), "small": content(5000)}
    for path, data in files.items():
        server.put("models", f"qwen/{path}", data)
    access = Access(endpoint=server.url, secrets=SECRETS, ca_bundle=certificate[0])
    source = S3Source(Reference.parse("s3://models"), access, workers=workers)
    with closing(Store(StoreSettings(tmp_path / "store", high_watermark=1.0, low_watermark=1.0))) as store:
        engine = engine_on(store, quick(4))
        with closing(source):
            manifest = source.resolve(Reference.parse("s3://models/qwen"), Selection())
            bring(engine, manifest, source)
            assert sum(map(len, source._pool._idle.values())) == 1  # for the one byte that proves the right to read
        assert here(store, manifest) == files
        assert nothing_in_use(engine)
