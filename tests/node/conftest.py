import pytest

from csi_model.core import treehash
from csi_model.transfer import stragglers
from tests.node.node import Node
from tests.node.warming import Bench
from tests.transfer.bringing import SMALL_CHUNK


@pytest.fixture(autouse=True)
def patience_with_stalls(monkeypatch):
    """However long a test lets a read wait, it isn't cut off for that."""
    monkeypatch.setattr(stragglers, "WINDOW", float("inf"))


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(treehash, "CHUNK", SMALL_CHUNK)


@pytest.fixture
def bench(tmp_path, small_chunks):
    made = Bench(tmp_path / "store")
    yield made
    made.close()


@pytest.fixture
def hasty(tmp_path, small_chunks):
    """A bench whose warm-ups stop as soon as nobody wants them."""
    made = Bench(tmp_path / "store", grace=0.0)
    yield made
    made.close()


@pytest.fixture
def node(tmp_path, small_chunks):
    """A node whose calls wait for the warm-up."""
    made = Node(tmp_path)
    yield made
    made.close()


@pytest.fixture
def slow(tmp_path, small_chunks):
    """A node whose first call answers at once, and whose unwanted warm-ups stop at once."""
    made = Node(tmp_path, first_answer=0.0, grace=0.0)
    yield made
    made.close()


@pytest.fixture
def real(tmp_path, small_chunks, mounts):
    """A node that really mounts."""
    made = Node(tmp_path, mounts=mounts)
    yield made
    for target in mounts.table():
        if target.is_relative_to(tmp_path):
            mounts.unmount(target)
    made.close()
