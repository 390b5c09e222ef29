import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.node.mountinfo import parse_mountinfo

PATHS = st.lists(st.binary(min_size=1).map(lambda name: name.replace(b"\0", b"x").replace(b"/", b"y")), max_size=4).map(
    lambda names: b"/" + b"/".join(names)
)


def line(target: bytes, root: bytes = b"/", *, ids: tuple[int, int] = (36, 35), tags: bytes = b"", options=b"rw"):
    fields = [b"%d %d" % ids, b"98:0", escape(root), escape(target), options]
    return b" ".join([*fields, *([tags] if tags else []), b"-", b"ext3", b"/dev/root", b"rw,errors=continue"])


def escape(path: bytes) -> bytes:
    return b"".join(b"\\%03o" % c if c in b" \t\n\\#" else bytes([c]) for c in path)


def test_the_manual_pages_example():
    text = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
    mount = parse_mountinfo(text)[Path("/mnt2")]
    assert (mount.root, mount.device, mount.read_only) == (Path("/mnt1"), "98:0", False)


@pytest.mark.parametrize("tags", [b"", b"shared:7", b"shared:7 master:2 propagate_from:4 unbindable"])
def test_any_number_of_tags(tags: bytes):
    assert Path("/a") in parse_mountinfo(line(b"/a", tags=tags))


def test_a_read_only_mount_and_a_read_only_file_system_are_both_read_only():
    assert parse_mountinfo(line(b"/a", options=b"ro,nosuid"))[Path("/a")].read_only
    assert parse_mountinfo(line(b"/a").replace(b"rw,errors", b"ro,errors"))[Path("/a")].read_only
    assert not parse_mountinfo(line(b"/a").replace(b"errors", b"errors=remount-ro"))[Path("/a")].read_only


def test_a_deleted_root_has_its_plain_path():
    assert parse_mountinfo(line(b"/a", b"/trees/x//deleted"))[Path("/a")].root == Path("/trees/x")


@pytest.mark.parametrize("order", [1, -1])
def test_the_topmost_of_stacked_mounts_wins_in_whatever_order_they_stand(order: int):
    stacked = [line(b"/a", b"/below", ids=(40, 20)), line(b"/a", b"/top", ids=(41, 40)), line(b"/", ids=(20, 1))]
    assert parse_mountinfo(b"\n".join(stacked[::order]))[Path("/a")].root == Path("/top")


@pytest.mark.parametrize(
    "text", [b"nonsense", b"36 35 98:0 / /a rw", b"36 35 98:0 / /a - ext3", b"1 2 3 / /a rw - ext3 x"]
)
def test_a_malformed_line_is_an_error_that_counts_lines(text: bytes):
    with pytest.raises(ValueError, match="line 2 "):
        parse_mountinfo(line(b"/a") + b"\n" + text)


@given(target=PATHS, root=PATHS)
def test_every_path_comes_back(target: bytes, root: bytes):
    mounts = parse_mountinfo(line(target, root) + b"\n")
    assert mounts[Path(os.fsdecode(target))].root == Path(os.fsdecode(root))


@given(st.binary())
def test_nothing_else_but_a_value_error_comes_out(text: bytes):
    with suppress(ValueError):
        parse_mountinfo(text)


def test_this_process_has_a_root():
    assert Path("/") in parse_mountinfo(Path("/proc/self/mountinfo").read_bytes())
