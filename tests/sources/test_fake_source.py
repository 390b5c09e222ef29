"""The in-memory source can misbehave on request."""

import threading

import pytest

from csi_model.core.globs import Selection
from csi_model.core.reference import Reference
from csi_model.errors import SourceDenied, SourceUnavailable
from tests.contracts.source_contract import read
from tests.fakes.source import FakeSource

QWEN = Reference.parse("s3://models/qwen")


@pytest.fixture
def source():
    return FakeSource({"qwen/a": b"weights"})


@pytest.fixture
def entry(source):
    return source.resolve(QWEN, Selection()).entries[0]


def test_reads_are_recorded(source, entry):
    read(source, entry, 2, 5)
    assert source.reads == [("a", 2, 3)]


def test_it_fails_as_often_as_told(source, entry):
    source.fail_next(SourceUnavailable("down"), times=2)
    for _ in range(2):
        with pytest.raises(SourceUnavailable):
            read(source, entry)
    assert read(source, entry) == b"weights"


def test_it_lies_as_often_as_told(source, entry):
    source.corrupt_next()
    assert read(source, entry) != b"weights"
    assert read(source, entry) == b"weights"


def test_a_stalled_read_goes_on_when_released(source, entry):
    stall, got = source.stall_next(), []
    thread = threading.Thread(target=lambda: got.append(read(source, entry)))
    thread.start()
    assert stall.reached.wait(5)
    assert not got
    stall.released.set()
    thread.join()
    assert got == [b"weights"]


def test_listings_fail_when_told():
    source = FakeSource({"qwen/a": b""})
    source.failures.append(SourceDenied("no"))
    with pytest.raises(SourceDenied):
        source.resolve(QWEN, Selection())
    assert source.resolve(QWEN, Selection()).files == 1
