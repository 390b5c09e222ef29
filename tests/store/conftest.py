"""A store on a real directory, chunks small enough to have many of them, and small real disks."""

import subprocess

import pytest

from tests.store.shelf import Shelf

CHUNK = 4096


@pytest.fixture
def small_chunks(monkeypatch):
    """Files of a few pages have several chunks; a page is what direct I/O needs."""
    monkeypatch.setattr("csi_model.core.treehash.CHUNK", CHUNK)
    return CHUNK


@pytest.fixture
def shelf(tmp_path, small_chunks):
    with Shelf(tmp_path / "store") as shelf:
        yield shelf


@pytest.fixture
def disk(tmp_path, mounts):
    """An empty file system of 64 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
