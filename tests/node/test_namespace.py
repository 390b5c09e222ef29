import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from csi_model.node.linux_mounts import LinuxMounts
from csi_model.node.namespace import APPARMOR, DEBIAN, MAXIMUM, advice, in_chroot

ROOT = Path(__file__).parents[2]
PR_SET_DUMPABLE = 4
NOBODY = f"""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl({PR_SET_DUMPABLE}, 1, 0, 0, 0)  # else /proc/self still belongs to root
"""
START = """
    import ctypes, os, sys, tempfile, threading
    from pathlib import Path
    from csi_model.errors import MountFailed
    from csi_model.node import namespace
    from csi_model.node.linux_mounts import LinuxMounts
"""


def as_nobody() -> str:
    """What makes a child a stranger without rights; nothing where we are one already (in a user namespace).

    Nor in a chroot, where the kernel gives nobody a user namespace (user_namespaces(7), EPERM).
    """
    uids = Path("/proc/self/uid_map").read_text().split()
    if os.geteuid() != 0 or int(uids[2]) <= 65534 or in_chroot():
        return ""
    return textwrap.dedent(NOBODY)


def child(*parts: str) -> subprocess.Popen[str]:
    code = "".join(textwrap.dedent(part) for part in (START, *parts))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], text=True, cwd=ROOT, **pipes)


def output(*parts: str) -> str:
    with child(*parts) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


@pytest.fixture(params=["same user", "nobody"])
def user(request: pytest.FixtureRequest, mounts: LinuxMounts) -> str:
    """Code that makes a child this user; fails where namespaces can't be had."""
    del mounts
    return as_nobody() if request.param == "nobody" else ""


BIND = """
    namespace.enter()
    base = Path(tempfile.mkdtemp())
    (base / "source").mkdir()
    (base / "target").mkdir()
    (base / "source" / "file").write_text("seen")
    LinuxMounts().bind_read_only(base / "source", base / "target")
"""
CLEAN = """
    import shutil
    LinuxMounts().unmount(base / "target")
    shutil.rmtree(base)
"""


def test_mounts_work_inside(user: str):
    show = """
    print((base / "target" / "file").read_text(), os.geteuid())
    """
    assert output(user, BIND, show, CLEAN) == "seen 0"


def test_the_old_calls_work_inside_too(user: str):
    assert output(user, BIND.replace("LinuxMounts()", "LinuxMounts(legacy=True)"), CLEAN) == ""


def test_what_one_owned_stays_ones_own(user: str):
    show = """
    base = Path(tempfile.mkdtemp())
    namespace.enter()
    print(base.stat().st_uid == os.geteuid())
    base.rmdir()
    """
    assert output(user, show) == "True"


def test_a_mount_inside_is_invisible_outside(user: str, mounts: LinuxMounts):
    wait = """
    print(base, flush=True)
    sys.stdin.readline()
    """
    with child(user, BIND, wait, CLEAN) as process:
        base = Path(process.stdout.readline().strip())
        inside = Path(f"/proc/{process.pid}/mountinfo").read_text()
        assert f"{base}/target" in inside
        assert base / "target" not in mounts.table()
        process.communicate("\n", timeout=60)


def test_mounts_vanish_with_the_process(user: str):
    """The child's mounts pin a file system; once it is gone nothing does."""
    forget = """
    print(base, flush=True)
    os._exit(0)
    """
    base = Path(output(user, BIND, forget))
    assert not list((base / "target").iterdir())
    (base / "target").rmdir()  # EBUSY while it is a mount point here
    (base / "source" / "file").unlink()
    (base / "source").rmdir()
    base.rmdir()


def test_entering_twice_is_entering_once(user: str):
    show = """
    namespace.enter()
    first = os.readlink("/proc/self/ns/mnt")
    namespace.enter()
    print(os.readlink("/proc/self/ns/mnt") == first)
    """
    assert output(user, show) == "True"


def test_a_process_with_threads_is_told_to_enter_earlier():
    show = """
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        namespace.enter()
    except MountFailed as error:
        print(error)
    done.set()
    thread.join()
    """
    assert "before any is started" in output(show)


def test_a_refusal_says_why_and_what_to_do(mounts: LinuxMounts):
    """A namespace without room for another one is what a kernel with user namespaces off looks like."""
    show = """
    namespace.enter()  # in here the limits are ours
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    Path("/proc/sys/user/max_mnt_namespaces").write_text("0")
    namespace._entered = False
    try:
        namespace.enter()
    except MountFailed as error:
        print(error)
    """
    nobody = as_nobody()
    if nobody:  # only in a user namespace of the child's own, never on this machine
        assert "sysctl user.max_user_namespaces" in output(nobody, show)


@pytest.mark.parametrize(
    ("code", "switches", "told"),
    [
        (errno.EPERM, {DEBIAN: "0"}, "kernel.unprivileged_userns_clone=1"),
        (errno.ENOSPC, {MAXIMUM: "0"}, "user.max_user_namespaces"),
        (errno.ENOSPC, {MAXIMUM: "100"}, "user.max_mnt_namespaces"),
        (errno.EACCES, {APPARMOR: "1", DEBIAN: "1"}, "kernel.apparmor_restrict_unprivileged_userns=0"),
        (errno.EPERM, {APPARMOR: "0", DEBIAN: "1", MAXIMUM: "9"}, "seccomp"),
        (errno.EINVAL, {}, "no user namespaces"),
    ],
)
def test_advice_names_the_switch(code: int, switches: dict[str, str], told: str):
    assert told in advice(code, switches)
    assert "root" in advice(code, switches)


def test_advice_knows_a_chroot():
    assert "chroot" in advice(errno.EPERM, {APPARMOR: "0"}, chrooted=True)
