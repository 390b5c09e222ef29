"""A file that is written through the page cache or past it: the bytes are the same, only where they linger differs."""

import errno
import mmap
import os
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csi_model.store import data_file, durable, pages
from csi_model.store.data_file import DataFile
from csi_model.store.labels import Label

PAGE = 4096
SIZE = 40 * PAGE + 123
CONTENT = os.urandom(SIZE)


def aligned(data):
    """Bytes at the beginning of a page, as the engine's buffers are."""
    buffer = mmap.mmap(-1, len(data))
    buffer[:] = data
    return memoryview(buffer)


def put(file, start, end, *, cached=False):
    file.write(start, aligned(CONTENT[start:end]), cached=cached)


def in_memory(path):
    with path.open("rb") as file:
        return pages.resident(file.fileno(), 0, path.stat().st_size)


@pytest.fixture
def past_cache(monkeypatch):
    """Note the flags that files are opened with, and what is written past the page cache."""
    direct, written = set(), []
    real_open, real_write = os.open, os.pwrite

    def open_(path, flags, *mode):
        descriptor = real_open(path, flags, *mode)
        (direct.add if flags & os.O_DIRECT else direct.discard)(descriptor)
        return descriptor

    def pwrite(descriptor, data, offset):
        count = real_write(descriptor, data, offset)
        if descriptor in direct:
            written.append((offset, count))
        return count

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "pwrite", pwrite)
    return written


@pytest.fixture
def on_disk(tmp_path):
    """A path of a file system that has O_DIRECT and can forget; the tests' directory may be memory."""
    path = tmp_path / "data"
    with closing(DataFile(path, PAGE)) as file:
        if not file.direct:
            pytest.skip("the tests' directory has no direct I/O")
    path.unlink()
    return path


@pytest.fixture
def in_tmpfs(tmp_path, mounts):
    place = tmp_path / "memory"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "memory", place], check=True)
    yield place / "data"
    mounts.unmount(place)


# the bytes


def cuts():
    """The places where a file is cut into blocks, pages or not."""
    page = st.integers(1, SIZE // PAGE).map(lambda number: number * PAGE)
    return st.sets(page | st.integers(1, SIZE - 1), max_size=12).map(sorted)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=80)
@given(cuts=cuts(), cached=st.lists(st.booleans(), min_size=13, max_size=13), order=st.randoms(), shift=st.booleans())
def test_blocks_of_any_alignment_in_any_order_make_the_file_by_either_way(tmp_path, cuts, cached, order, shift):
    blocks = list(zip([0, *cuts], [*cuts, SIZE], cached, strict=False))
    order.shuffle(blocks)
    path = tmp_path / "data"
    with closing(DataFile(path, SIZE)) as file:
        for start, end, keep in blocks:
            view = aligned(b"?" * shift + CONTENT[start:end])  # shifted: not at a page in memory
            file.write(start, view[shift:], cached=keep)
        file.sync()
        file.seal(Label())
        back = bytearray(SIZE)
        file.read_into(0, memoryview(back))
    assert path.read_bytes() == back == CONTENT
    path.unlink()


def test_a_part_is_read_back_from_where_it_lies(tmp_path):
    with closing(DataFile(tmp_path / "data", SIZE)) as file:
        put(file, 0, SIZE)
        back = bytearray(100)
        file.read_into(5000, memoryview(back))
    assert back == CONTENT[5000:5100]


def test_a_file_that_ends_early_is_an_error(tmp_path):
    with closing(DataFile(tmp_path / "data", SIZE)) as file, pytest.raises(OSError, match="shorter"):
        file.read_into(SIZE - 10, memoryview(bytearray(11)))


def test_a_file_that_was_there_with_its_size_is_not_fresh(tmp_path):
    with closing(DataFile(tmp_path / "data", SIZE)) as file:
        assert file.fresh
    with closing(DataFile(tmp_path / "data", SIZE)) as file:
        assert not file.fresh
    with closing(DataFile(tmp_path / "data", SIZE + 1)) as file:
        assert file.fresh


def test_a_sealed_file_is_read_only_with_a_constant_time(tmp_path):
    with closing(DataFile(tmp_path / "data", 5)) as file:
        file.seal(Label())
    status = (tmp_path / "data").stat()
    assert (status.st_mode & 0o7777, status.st_mtime) == (0o444, 0)


# the way they take


def test_whole_pages_that_nobody_waits_for_go_past_the_page_cache_and_the_rest_through_it(on_disk, past_cache):
    with closing(DataFile(on_disk, SIZE)) as file:
        put(file, 0, SIZE)
        assert past_cache == [(0, SIZE - SIZE % PAGE)]


def test_what_is_to_stay_never_goes_past_the_page_cache(on_disk, past_cache):
    with closing(DataFile(on_disk, SIZE)) as file:
        put(file, 0, SIZE, cached=True)
        assert (past_cache, file.direct) == ([], True)


def test_a_block_that_begins_within_a_page_goes_through_the_page_cache(on_disk, past_cache):
    with closing(DataFile(on_disk, SIZE)) as file:
        put(file, 512, 512 + PAGE)
        assert past_cache == []


@pytest.mark.parametrize("end", [40 * PAGE, SIZE])
@pytest.mark.parametrize("refuses", [False, True])
def test_after_a_sync_only_what_is_to_stay_is_in_memory(on_disk, monkeypatch, end, refuses):
    if refuses:
        monkeypatch.setattr(data_file, "pwrite_all", refusing(errno.EINVAL))
    with closing(DataFile(on_disk, end)) as file:
        put(file, 0, end)
        file.sync()
        assert in_memory(on_disk) == 0
        put(file, 0, end, cached=True)
        file.sync()
        assert in_memory(on_disk) == end


def test_what_stays_is_not_forgotten_when_its_neighbour_goes_past(on_disk):
    with closing(DataFile(on_disk, 40 * PAGE)) as file:
        put(file, 0, 20 * PAGE, cached=True)
        file.sync()
        put(file, 20 * PAGE, 40 * PAGE)
        file.sync()
    assert in_memory(on_disk) == 20 * PAGE


# file systems that lack something


def refusing(code):
    """Refuse the first write, as file systems do that find out about direct I/O only then."""
    real, refused = durable.pwrite_all, []

    def pwrite_all(descriptor, view, offset):
        if not refused:
            refused.append(descriptor)
            raise OSError(code, os.strerror(code))
        assert descriptor not in refused, "it was asked again"
        real(descriptor, view, offset)

    return pwrite_all


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_where_a_direct_write_is_refused_it_takes_the_other_way_from_then_on(on_disk, monkeypatch, code):
    monkeypatch.setattr(data_file, "pwrite_all", refusing(code))
    with closing(DataFile(on_disk, SIZE)) as file:
        put(file, 0, 8 * PAGE)
        put(file, 8 * PAGE, SIZE)
        assert not file.direct
    assert on_disk.read_bytes() == CONTENT


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_another_error_of_a_direct_write_is_an_error(on_disk, monkeypatch, code):
    monkeypatch.setattr(data_file, "pwrite_all", refusing(code))
    with closing(DataFile(on_disk, SIZE)) as file, pytest.raises(OSError, match=os.strerror(code)):
        put(file, 0, SIZE)


def test_where_a_file_can_not_be_opened_past_the_page_cache_it_is_written_all_the_same(tmp_path, monkeypatch):
    real = os.open

    def open_(path, flags, *mode):
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", open_)
    with closing(DataFile(tmp_path / "data", SIZE)) as file:
        put(file, 0, SIZE)
        assert not file.direct
    assert (tmp_path / "data").read_bytes() == CONTENT


def test_a_file_in_memory_gets_its_bytes_and_keeps_them(in_tmpfs):
    with closing(DataFile(in_tmpfs, SIZE)) as file:
        put(file, 0, SIZE)
        file.sync()
    assert in_tmpfs.read_bytes() == CONTENT


def test_where_no_room_can_be_set_aside_the_file_has_its_length_and_its_bytes(tmp_path, monkeypatch):
    class Libc:
        sync_file_range = staticmethod(durable._libc.sync_file_range)

        @staticmethod
        def fallocate(*_):
            durable.ctypes.set_errno(errno.EOPNOTSUPP)
            return -1

    monkeypatch.setattr(durable, "_libc", Libc)
    with closing(DataFile(tmp_path / "data", SIZE)) as file:
        assert (file.reserved, (tmp_path / "data").stat().st_size) == (False, SIZE)
        put(file, 0, SIZE)
    assert (tmp_path / "data").read_bytes() == CONTENT


def test_room_is_set_aside_where_that_can_be_done(on_disk):
    with closing(DataFile(on_disk, SIZE)) as file:
        assert file.reserved
    assert on_disk.stat().st_blocks * 512 >= SIZE


def test_a_file_that_can_not_have_its_room_leaves_no_descriptor(in_tmpfs):
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="No space"):
        DataFile(in_tmpfs, 1 << 30)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
