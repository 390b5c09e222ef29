import os
from contextlib import closing, suppress
from pathlib import Path

import pytest

from csi_model.sources.shared import SharedBuffer, locate


def test_what_is_written_to_it_is_behind_its_descriptor():
    with closing(SharedBuffer(10_000)) as buffer:
        buffer[5000:5003] = b"abc"
        assert os.pread(buffer.fd, 3, 5000) == b"abc"


def test_a_view_is_located_in_its_buffer():
    with closing(SharedBuffer(10_000)) as buffer, memoryview(buffer) as whole:
        assert locate(whole) == (buffer, 0)
        with whole[100:] as part, part[23:24] as piece:
            assert locate(piece) == (buffer, 123)


def test_a_view_of_other_memory_lies_in_none():
    assert locate(memoryview(bytearray(10))) is None


def test_nobody_can_shrink_it():
    with closing(SharedBuffer(10_000)) as buffer, pytest.raises(PermissionError):
        os.ftruncate(buffer.fd, 0)


def descriptors_of(inode):
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one of the listing itself
            found += [link] if link.stat().st_ino == inode else []
    return found


def test_closing_lets_go_of_the_descriptors():
    buffer = SharedBuffer(10_000)
    inode = os.fstat(buffer.fd).st_ino
    with memoryview(buffer), pytest.raises(BufferError):
        buffer.close()
    assert descriptors_of(inode)
    buffer.close()
    assert not descriptors_of(inode)


def test_a_buffer_that_nobody_has_any_more_is_closed():
    buffer = SharedBuffer(10_000)
    inode = os.fstat(buffer.fd).st_ino
    del buffer
    assert not descriptors_of(inode)
