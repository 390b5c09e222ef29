import errno
import mmap
import os
from pathlib import Path

import pytest

from csi_model.errors import MountFailed
from csi_model.node import linux_mounts
from csi_model.node.linux_mounts import LinuxMounts
from tests.contracts.mounts_contract import MountsContract
from tests.fakes.mounts import FakeMounts


class TestFakeMounts(MountsContract):
    @pytest.fixture
    def mounts(self) -> FakeMounts:
        return FakeMounts()


class RealMounts(MountsContract):
    """What only the kernel can show."""

    @pytest.fixture
    def shown(self, mounts: LinuxMounts, source: Path, target: Path) -> Path:
        (source / "weights").write_bytes(os.urandom(1 << 20))
        (source / "directory").mkdir()
        mounts.bind_read_only(source, target)
        return target

    def test_the_files_show_through(self, shown: Path, source: Path):
        assert (shown / "weights").read_bytes() == (source / "weights").read_bytes()

    @pytest.mark.parametrize(
        "write",
        [
            lambda root: (root / "weights").write_bytes(b"x"),
            lambda root: (root / "weights").chmod(0o777),
            lambda root: (root / "weights").unlink(),
            lambda root: (root / "new").touch(),
            lambda root: (root / "directory").rmdir(),
            lambda root: (root / "weights").rename(root / "other"),
            lambda root: os.utime(root / "weights"),
            lambda root: os.setxattr(root / "weights", "user.a", b"b"),
            lambda root: os.link(root / "weights", root / "link"),
        ],
        ids=["write", "chmod", "unlink", "create", "rmdir", "rename", "utime", "setxattr", "link"],
    )
    def test_root_cannot_change_anything_through_it(self, shown: Path, write):
        with pytest.raises(OSError) as caught:
            write(shown)
        assert caught.value.errno == errno.EROFS

    def test_the_source_itself_stays_writable(self, shown: Path, source: Path):
        (source / "new").write_text("seen")
        assert (shown / "new").read_text() == "seen"

    def test_set_user_id_and_devices_are_off(self, shown: Path):
        assert os.statvfs(shown).f_flag & (os.ST_NOSUID | os.ST_NODEV) == os.ST_NOSUID | os.ST_NODEV

    def test_noexec_is_set_when_asked_for(self, mounts: LinuxMounts, source: Path, target: Path):
        mounts.bind_read_only(source, target, flags=["noexec"])
        assert os.statvfs(target).f_flag & os.ST_NOEXEC

    def test_flags_of_the_mount_below_are_kept(self, mounts: LinuxMounts, source: Path, tmp_path: Path):
        first, second = tmp_path / "first", tmp_path / "second"
        first.mkdir()
        second.mkdir()
        mounts.bind_read_only(source, first, flags=["noexec"])
        mounts.bind_read_only(first, second)
        assert os.statvfs(second).f_flag & os.ST_NOEXEC

    def test_mapped_reads_work(self, shown: Path, source: Path):
        with (shown / "weights").open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            assert mapped[:] == (source / "weights").read_bytes()

    def test_sendfile_works(self, shown: Path, source: Path, tmp_path: Path):
        with (shown / "weights").open("rb") as file, (tmp_path / "copy").open("wb") as copy:
            assert os.sendfile(copy.fileno(), file.fileno(), 0, 1 << 20) == 1 << 20
        assert (tmp_path / "copy").read_bytes() == (source / "weights").read_bytes()

    def test_direct_reads_work_where_the_file_system_has_them(self, shown: Path, source: Path):
        assert _read_directly(shown / "weights") == _read_directly(source / "weights")

    def test_a_busy_mount_is_detached(self, mounts: LinuxMounts, shown: Path, source: Path):
        with (shown / "weights").open("rb") as file:
            mounts.unmount(shown)
            assert shown not in mounts.table()
            assert not list(shown.iterdir())
            assert file.read() == (source / "weights").read_bytes()

    def test_a_deleted_source_keeps_its_plain_path_in_the_table(self, mounts: LinuxMounts, source: Path, target: Path):
        mounts.bind_read_only(source, target)
        before = mounts.table()[target].root
        (source / "config.json").unlink()
        source.rmdir()
        assert mounts.table()[target].root == before

    def test_nothing_is_left_in_the_table_but_the_target(self, mounts: LinuxMounts, source: Path, target: Path):
        before = set(mounts.table())
        mounts.bind_read_only(source, target)
        assert set(mounts.table()) - before == {target}

    def test_no_descriptor_is_left_open(self, mounts: LinuxMounts, source: Path, target: Path):
        before = sorted(Path("/proc/self/fd").iterdir())
        mounts.bind_read_only(source, target)
        mounts.unmount(target)
        assert sorted(Path("/proc/self/fd").iterdir()) == before

    def test_a_copy_that_propagates_is_read_only_too(self, mounts: LinuxMounts, source: Path, tmp_path: Path):
        shared, peer = tmp_path / "shared", tmp_path / "peer"
        for path in (shared, peer):
            path.mkdir()
        _mount(shared, shared, _MS_BIND)
        _mount(None, shared, _MS_SHARED)
        _mount(shared, peer, _MS_BIND)
        (shared / "target").mkdir()
        mounts.bind_read_only(source, shared / "target")
        assert mounts.table()[peer / "target"].read_only
        with pytest.raises(OSError):
            (peer / "target" / "new").touch()
        mounts.unmount(shared / "target")
        assert peer / "target" not in mounts.table()
        mounts.unmount(peer)
        mounts.unmount(shared)


class TestLinuxMounts(RealMounts):
    def test_an_old_kernel_gets_the_old_calls(self, source: Path, target: Path, mounts: LinuxMounts, monkeypatch):
        monkeypatch.setattr(linux_mounts, "_OPEN_TREE", 100_000)  # a number that no kernel has: ENOSYS
        mounts.bind_read_only(source, target)
        assert mounts.table()[target].read_only

    def test_a_path_that_c_would_cut_short_is_refused(self, mounts: LinuxMounts, source: Path, target: Path):
        mounts.bind_read_only(source, target)
        with pytest.raises(MountFailed):
            mounts.unmount(Path(f"{target}\0/further"))
        assert target in mounts.table()


class TestLegacyMounts(RealMounts):
    @pytest.fixture
    def mounts(self, mounts: LinuxMounts) -> LinuxMounts:
        del mounts  # asked for since it fails where mounts can't be had
        return LinuxMounts(legacy=True)

    def test_a_failed_bind_leaves_nothing_behind(self, mounts: LinuxMounts, source: Path, target: Path, monkeypatch):
        def refuse(path: Path) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(linux_mounts, "_inherited", refuse)
        before = mounts.table()
        with pytest.raises(MountFailed, match="EIO"):
            mounts.bind_read_only(source, target)
        assert mounts.table() == before


_MS_BIND, _MS_SHARED = 0x1000, 1 << 20


def _mount(source: Path | None, target: Path, flags: int) -> None:
    linux_mounts._mount(None if source is None else bytes(source), bytes(target), flags)


def _read_directly(path: Path) -> bytes | int | None:
    """The content read past the page cache, or the errno of a file system that can't."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError as error:
        return error.errno
    try:
        with mmap.mmap(-1, 1 << 20) as buffer:  # aligned, as direct reads want it
            count = os.preadv(descriptor, [buffer], 0)
            return buffer[:count]
    finally:
        os.close(descriptor)
