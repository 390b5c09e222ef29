"""The mount table as a container shows it: a store is recognised wherever it lies, and targets reach the host."""

import json
import subprocess
import sys

import pytest

from tests.harness import ROOT
from tests.node.contained import MANIFEST, TARGET, mount
from tests.node.node import Node
from tests.node.warming import PATIENCE


def life(node):
    """Stage, publish, look, restart, and unpublish; returns the root that the table shows for the target."""
    volume = node.create()
    node.stage(volume)
    target = node.publish(volume)
    root = node.mounts.table()[target].root
    node.store.holds.drop(volume.volume_id)
    node.restart()
    assert not node.store.retention.evict(volume.manifest.digest)
    node.unpublish(volume)
    assert target not in node.mounts.table()
    assert node.store.retention.evict(volume.manifest.digest)
    return root


@pytest.fixture
def place(tmp_path, mounts):
    """A directory for a node; whatever is mounted in it goes at the end."""
    made = tmp_path / "node"
    made.mkdir()
    yield made
    for target in sorted((t for t in mounts.table() if t.is_relative_to(tmp_path)), reverse=True):
        mounts.unmount(target)


@pytest.fixture
def living(place, mounts, small_chunks):
    made = []

    def live():
        made.append(Node(place, mounts=mounts))
        return life(made[-1])

    yield live
    for node in made:
        node.close()


def test_a_store_on_the_hosts_own_file_system_is_recognised(living):
    assert "/node/store/trees/" in str(living())


def test_a_store_on_a_disk_of_its_own_is_recognised(living, place):
    mount("-t", "tmpfs", "tmpfs", place)
    assert living().parts[:3] == ("/", "store", "trees")


def test_a_store_that_is_bound_from_elsewhere_is_recognised(living, place, tmp_path):
    (tmp_path / "mnt" / "nvme0" / "models").mkdir(parents=True)
    mount("--bind", tmp_path / "mnt" / "nvme0" / "models", place)
    root = living()
    assert "mnt/nvme0/models/store/trees" in str(root)
    assert not root.is_relative_to(place)


class Host:
    """A host whose kubelet directory is shared, and containers on it that live one after another."""

    def __init__(self, root):
        self.root = root
        self.target = root / "host" / TARGET
        self.target.mkdir(parents=True)
        tree = root / "host" / "csi-model" / "store" / "trees" / MANIFEST / "root"
        tree.mkdir(parents=True)
        (tree / "weights").write_text("bytes")
        for name in ("kubelet", "csi-model", "host"):
            (root / "container" / name).mkdir(parents=True)
        mount("--bind", root / "host", root / "host")
        mount("--make-shared", root / "host")

    def container(self, action):
        command = [sys.executable, "-m", "tests.node.contained", self.root / "host", self.root / "container", action]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def host(place):
    return Host(place)


def test_a_target_that_a_container_binds_is_read_only_on_the_host(host, mounts):
    assert host.container("bind")["target"] == {"in_use": MANIFEST, "read_only": True}
    assert mounts.table()[host.target].read_only
    assert (host.target / "weights").read_text() == "bytes"


def test_it_outlives_the_container_and_the_next_one_sees_it(host):
    host.container("bind")
    assert host.container("look")["target"] == {"in_use": MANIFEST, "read_only": True}


def test_the_next_container_unmounts_it_on_the_host(host, mounts):
    host.container("bind")
    seen = host.container("unmount")
    assert (seen["target"], host.target in mounts.table()) == (None, False)


def test_what_a_container_sees_twice_goes_twice(host):
    """A host directory that comes in with HostToContainer shows kubelet's mounts again, if kubelet's lies in it."""
    assert host.container("bind")["anywhere"]
    assert not host.container("unmount")["anywhere"]


def test_from_the_directory_above_a_container_tells_whether_the_host_has_a_disk_there(host):
    assert not host.container("look")["disk"]
    mount("-t", "tmpfs", "tmpfs", host.root / "host" / "csi-model")
    assert host.container("look")["disk"]
