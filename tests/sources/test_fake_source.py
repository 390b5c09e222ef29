"""The in-memory source can misbehave on request."""

import threading

import pytest

from csi_model.core.globs import Selection
from csi_model.core.reference import Reference
from csi_model.errors import SourceDenied, SourceUnavailable
from csi_model.sources.base import Abort
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


def test_it_gives_so_many_views_and_then_fails(source, entry):
    source.fail_after(2, SourceUnavailable("reset"))
    got = []
    with source.open(entry) as reader, pytest.raises(SourceUnavailable, match="reset"):
        got.extend(bytes(view) for view in reader.read(1, [memoryview(bytearray(2))] * 3))
    assert got == [b"ei", b"gh"]
    assert source.reads == [("a", 1, 6)]


def test_a_stalled_read_can_be_cut_off(source, entry):
    stall, abort, got = source.stall_next(after=1), Abort(), []

    def cut_when_it_stalls():
        stall.reached.wait(5)
        abort()

    thread = threading.Thread(target=cut_when_it_stalls)
    thread.start()
    with source.open(entry) as reader, pytest.raises(SourceUnavailable, match="cut off"):
        got.extend(bytes(view) for view in reader.read(0, [memoryview(bytearray(2))] * 3, abort))
    thread.join()
    assert got == [b"we"]


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
