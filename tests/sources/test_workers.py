"""Reads over TLS that another process does: nobody can tell, except that memory is never touched after their end."""

import random
import threading
from contextlib import closing
from dataclasses import dataclass

import pytest

from csi_model.errors import SourceUnavailable
from csi_model.sources.base import Abort
from csi_model.sources.http import HttpPool, Target, read_range
from csi_model.sources.shared import SharedBuffer
from csi_model.sources.workers import Workers
from tests.fakes import misbehaving_server as bad
from tests.fakes.misbehaving_server import MisbehavingServer
from tests.sources.certificates import make_certificate

BODY = random.Random(1).randbytes(1_000_000)
SIGNED = "/models/a?X-Amz-Signature=topsecret"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def workers():
    with closing(Workers(2, 2, patience=2)) as workers:
        yield workers


@pytest.fixture
def pool(certificate, workers):
    with closing(HttpPool(certificate[0], workers=workers)) as pool:
        yield pool


@pytest.fixture
def serve(certificate):
    return lambda *script: MisbehavingServer(*script, body=BODY, tls=certificate[1])


def begin(pool, server, buffer, *, block=100_000, start=0, abort=None, **more):
    with memoryview(buffer) as whole:
        views = [whole[:block]] * (len(BODY) // block)
        return read_range(pool, Target(server.url + SIGNED, len(BODY), **more), start, views, abort)


def test_same_bytes(pool, serve, workers):
    buffer = SharedBuffer(100_000)
    with serve() as server:
        for _ in range(3):
            assert b"".join(map(bytes, begin(pool, server, buffer))) == BODY
        assert server.connections == 1
