import os

import pytest

from csi_model.store import pages

MIB = 2**20


@pytest.fixture(params=["cachestat", "mincore"])
def file(request, tmp_path, monkeypatch):
    """A file of 1 MiB; on a disk, so that it can leave memory."""
    if request.param == "mincore":
        monkeypatch.setattr(pages, "_cachestat", lambda *_: None)
    path = tmp_path / "file"
    path.write_bytes(os.urandom(MIB))
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_what_was_just_written_is_in_memory(file):
    assert pages.resident(file, 0, MIB) == MIB


def test_a_range_within_is_counted_alone(file):
    assert pages.resident(file, MIB // 2, 4096) == 4096


def test_a_hole_that_nobody_read_is_not_in_memory(file):
    os.truncate(f"/proc/self/fd/{file}", 2 * MIB)
    assert (pages.resident(file, MIB, MIB), pages.resident(file, 0, 2 * MIB)) == (0, MIB)


def test_a_last_page_counts_no_more_than_was_asked(file):
    assert pages.resident(file, 0, 1000) == 1000


def test_what_was_forgotten_is_in_memory_again_when_it_was_read(file):
    pages.forget(file)
    if pages.resident(file, 0, MIB):
        pytest.skip("the tests' directory is in memory itself")
    os.pread(file, MIB, 0)
    assert pages.resident(file, 0, MIB) == MIB


def test_a_descriptor_that_is_none_counts_nothing():
    assert pages.resident(-1, 0, MIB) == 0
