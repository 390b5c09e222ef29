"""SELinux labels on what pods see. The kernel stores them without SELinux too, for root on most file systems."""

import os

import pytest

from csi_model.errors import InvalidArgument, StoreUnusable
from csi_model.settings import StoreSettings
from csi_model.store import labels as store_labels
from csi_model.store.labels import Label
from csi_model.store.store import Store
from tests.store.shelf import model, put, stage

LABEL, OLDER = "system_u:object_r:container_file_t:s0", "system_u:object_r:other_t:s0"
MODEL = model(sizes=(40_000_000, 20_000, 300, 0))


def can_set(attribute, directory):
    """Tell whether this kernel lets us set an attribute here."""
    probe = directory / "probe"
    probe.touch()
    try:
        os.setxattr(probe, attribute, b"x:x:x\0")
    except OSError:
        return False
    return True


def open_store(root, label):
    return Store(StoreSettings(root, high_watermark=1.0, low_watermark=1.0, selinux_label=label))


@pytest.fixture
def labelled(tmp_path, monkeypatch):
    """A function that opens the store anew with a label.

    Where the kernel refuses (in a user namespace it does), it has to be said at the start; then the same is tried
    with an attribute that everybody may set.
    """
    made = []

    def open_with(label):
        while made:
            made.pop().close()
        made.append(open_store(tmp_path / "store", label))
        return made[-1]

    if not can_set(store_labels._ATTRIBUTE, tmp_path):
        with pytest.raises(StoreUnusable, match="can't get the SELinux label"):
            open_with(LABEL)
        monkeypatch.setattr(store_labels, "_ATTRIBUTE", "user.selinux")
    yield open_with
    for store in made:
        store.close()


def labels(root):
    """Return the labels of a directory and of all in it."""
    found = set()
    for path in (root, *root.rglob("*")):
        try:
            found.add(os.getxattr(path, store_labels._ATTRIBUTE).rstrip(b"\0").decode())
        except OSError:
            found.add("")
    return found


def test_everything_that_pods_see_is_labelled(labelled):
    assert labels(stage(labelled(LABEL), MODEL)) == {LABEL}


def test_files_have_it_as_soon_as_they_are_durable(labelled):
    store = labelled(LABEL)
    for item in MODEL.entries:
        if item.size:
            blob = store.layout.blob(put(store, item))
            assert Label(LABEL).is_on(blob)


def test_it_is_before_anybody_can_see_it(labelled, monkeypatch):
    store, seen = labelled(LABEL), []
    real = store.trees._reveal
    monkeypatch.setattr(
        store.trees, "_reveal", lambda work, *more: (seen.append(labels(work / "root")), real(work, *more))
    )
    stage(store, MODEL)
    assert seen == [{LABEL}]


def test_no_label_sets_none(labelled):
    assert LABEL not in labels(stage(labelled(""), MODEL))


def test_a_copy_of_another_time_gets_todays_label(labelled):
    root = stage(labelled(OLDER), MODEL)
    store = labelled(LABEL)
    store.tidy()
    assert labels(root) == {LABEL}


def test_a_new_tree_of_old_blobs_gets_todays_label(labelled):
    assert LABEL not in labels(stage(labelled(""), MODEL))
    newer = model(sizes=(40_000_000, 20_000, 300, 0, 5_000))
    assert labels(stage(labelled(LABEL), newer)) == {LABEL}


def test_a_tree_half_relabelled_by_a_dead_agent_is_relabelled_again(labelled):
    root = stage(labelled(OLDER), MODEL)
    Label(LABEL).put(root / "part-0.bin")
    store = labelled(LABEL)
    store.tidy()
    assert labels(root) == {LABEL}


def test_a_kernel_that_refuses_stops_the_start_and_not_a_staging(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    with pytest.raises(StoreUnusable, match=r"container_file_t:s0: Operation not supported \(E[A-Z]*NOTSUPP?\).*unset"):
        open_store(tmp_path / "store", LABEL)
    open_store(tmp_path / "store", "").close()


@pytest.mark.parametrize(
    "label", [LABEL, "system_u:object_r:container_file_t", "u:r:t:s0:c1,c2", "u:r:t:s0-s0:c0.c1023"]
)
def test_a_label_has_three_or_four_parts(tmp_path, label):
    assert StoreSettings(tmp_path, selinux_label=label).selinux_label == label


@pytest.mark.parametrize(
    "label",
    ["container_file_t", "a:b", "a:b:c:d", "a b:c:d:s0", "a:b:c:s0\n", "a:b:c\0:s0", ":::", "u:r:t:s0:" + "c1," * 100],
)
def test_a_malformed_label_is_refused_at_once(tmp_path, label):
    with pytest.raises(InvalidArgument, match="selinux_label"):
        StoreSettings(tmp_path, selinux_label=label)
