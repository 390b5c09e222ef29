"""What every Mounts promises. Run by the kernel's and by the tests' fake alike.

A subclass gives a fixture ``mounts``.
"""

from pathlib import Path

import pytest

from csi_model.core.capability import MOUNT_FLAGS
from csi_model.errors import MountFailed
from csi_model.node.mounts import Mounts


class MountsContract:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        source = tmp_path / "source"
        source.mkdir()
        (source / "config.json").write_text("{}")
        return source

    @pytest.fixture
    def target(self, tmp_path: Path) -> Path:
        target = tmp_path / "target"
        target.mkdir()
        return target

    def test_a_bound_target_is_in_the_table_read_only(self, mounts: Mounts, source: Path, target: Path):
        mounts.bind_read_only(source, target)
        mount = mounts.table()[target]
        assert mount.target == target
        assert mount.read_only

    def test_the_root_of_a_bind_is_the_source_within_its_file_system(self, mounts: Mounts, source: Path, target: Path):
        mounts.bind_read_only(source, target)
        root = str(mounts.table()[target].root)
        # The file system may be mounted somewhere below /, and / may lie somewhere within the file system (a chroot).
        assert str(source).endswith(root) or root.endswith(str(source))

    def test_every_allowed_flag_can_be_asked_for(self, mounts: Mounts, source: Path, target: Path):
        mounts.bind_read_only(source, target, flags=sorted(MOUNT_FLAGS))
        assert mounts.table()[target].read_only

    def test_an_unknown_flag_is_refused(self, mounts: Mounts, source: Path, target: Path):
        with pytest.raises(MountFailed, match="flag"):
            mounts.bind_read_only(source, target, flags=["suid"])
        assert target not in mounts.table()

    def test_two_targets_can_show_one_source(self, mounts: Mounts, source: Path, target: Path, tmp_path: Path):
        other = tmp_path / "other"
        other.mkdir()
        mounts.bind_read_only(source, target)
        mounts.bind_read_only(source, other)
        mounts.unmount(target)
        assert target not in mounts.table()
        assert other in mounts.table()

    def test_a_target_with_strange_characters_is_found_again(self, mounts: Mounts, source: Path, tmp_path: Path):
        target = tmp_path / "a b\tc\\d#e\n\u00fc" / "mount"
        target.mkdir(parents=True)
        mounts.bind_read_only(source, target)
        assert target in mounts.table()
        mounts.unmount(target)
        assert target not in mounts.table()

    def test_unmounting_what_is_not_mounted_is_no_error(self, mounts: Mounts, target: Path):
        mounts.unmount(target)
        mounts.unmount(target / "nothing" / "here")

    def test_unmounting_removes_every_mount_of_the_target(self, mounts: Mounts, source: Path, target: Path):
        mounts.bind_read_only(source, target)
        mounts.bind_read_only(source, target)
        mounts.unmount(target)
        assert target not in mounts.table()

    def test_unmounting_a_directory_inside_a_mount_leaves_the_mount(self, mounts: Mounts, source: Path, target: Path):
        (source / "inside").mkdir()
        mounts.bind_read_only(source, target)
        mounts.unmount(target / "inside")
        assert target in mounts.table()

    def test_unmounting_works_when_the_source_was_deleted(self, mounts: Mounts, source: Path, target: Path):
        mounts.bind_read_only(source, target)
        (source / "config.json").unlink()
        source.rmdir()
        assert target in mounts.table()
        mounts.unmount(target)
        assert target not in mounts.table()

    def test_a_symbolic_link_is_not_unmounted_through(self, mounts: Mounts, source: Path, target: Path, tmp_path: Path):
        link = tmp_path / "link"
        link.symlink_to(target)
        mounts.bind_read_only(source, target)
        mounts.unmount(link)
        assert target in mounts.table()

    @pytest.mark.parametrize("which", ["source", "target"])
    def test_a_symbolic_link_is_not_bound(self, mounts: Mounts, source: Path, target: Path, tmp_path: Path, which: str):
        link = tmp_path / "link"
        link.symlink_to(target if which == "target" else source)
        ends = (source, link) if which == "target" else (link, target)
        with pytest.raises(MountFailed, match=r"ENOTDIR|ELOOP"):
            mounts.bind_read_only(*ends)
        assert not {target, link} & set(mounts.table())

    @pytest.mark.parametrize("missing", ["source", "target"])
    def test_a_missing_directory_is_refused_by_name(
        self, mounts: Mounts, source: Path, target: Path, tmp_path: Path, missing: str
    ):
        gone = tmp_path / "gone"
        ends = (gone, target) if missing == "source" else (source, gone)
        with pytest.raises(MountFailed, match="gone"):
            mounts.bind_read_only(*ends)
        assert target not in mounts.table()

    def test_the_target_directory_is_there_again_after_unmounting(self, mounts: Mounts, source: Path, target: Path):
        mounts.bind_read_only(source, target)
        mounts.unmount(target)
        assert not list(target.iterdir())
