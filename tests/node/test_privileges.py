"""What the node's process can still do after it has dropped what it doesn't need, seen in child processes."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from csi_model.node.privileges import CAPABILITIES, NEEDED, drop_all_but
from tests.harness import MODEL, ROOT, SECRETS, Driver, content, served_model
from tests.node.warming import PATIENCE


def child(*arguments):
    """Run a child to its end; returns its words."""
    command = [sys.executable, "-m", "tests.node.dropped", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.stdout + done.stderr


@pytest.fixture
def site(tmp_path, mounts):
    """A directory to bind and one to bind it onto."""
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "source" / "file").write_text("seen")
    return tmp_path


@pytest.mark.parametrize("keep", [(), ("CAP_SYS_ADMIN",), ("CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE")])
def test_nothing_is_left_but_what_was_to_be_kept(site, keep):
    mask = f"{sum(1 << CAPABILITIES[name] for name in keep):016x}"
    lines = dict(line.split(":\t") for line in child("status", site, *keep).splitlines())
    none = "0" * 16
    assert lines == {
        "CapInh": none, "CapPrm": mask, "CapEff": mask, "CapBnd": mask, "CapAmb": none, "NoNewPrivs": "1",
    }  # fmt: skip


def test_mounting_works_with_what_the_node_keeps(site):
    assert child("mount", site, *NEEDED) == "seen []\n"


@pytest.mark.parametrize("missing", NEEDED)
def test_and_with_nothing_less(site, missing):
    assert "EPERM" in child("mount", site, *(name for name in NEEDED if name != missing), "CAP_DAC_OVERRIDE")


def test_what_the_process_lacks_can_not_be_kept(site):
    assert "MountFailed: the driver lacks CAP_CHOWN" in child("twice", site)


def test_it_is_refused_when_other_threads_run():
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="before other threads"):
            drop_all_but(frozenset(NEEDED))
    finally:
        over.set()
        thread.join()


def kept(pid):
    """Return the capabilities of all threads of a process."""
    statuses = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status"))
    return {line.split()[1] for text in statuses for line in text.splitlines() if line.startswith("CapPrm:")}


def test_a_volume_lives_its_whole_life_with_only_these(tmp_path, mounts):
    with served_model(tmp_path / "s3") as s3, Driver(tmp_path, "--drop-capabilities") as driver:
        kubelet = driver.kubelet()
        assert kept(driver.process.pid) == {f"{1 << CAPABILITIES['CAP_SYS_ADMIN']:016x}"}
        parameters = {"source": "s3://models/tiny", "endpoint": s3.url}
        for name in ("pvc-1", "pvc-2"):  # the second time with what the first left
            volume = kubelet.create(name, parameters, secrets=SECRETS)
            kubelet.stage(volume)
            target = kubelet.publish(volume, "pod-1")
            assert (target / "config.json").read_bytes() == content("config.json", MODEL["config.json"])
            kubelet.unpublish(volume, "pod-1")
            kubelet.unstage(volume)
            kubelet.delete(volume)
