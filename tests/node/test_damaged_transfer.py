"""Bytes that a transfer damaged: fetched anew once, and only then the source's fault."""

import pytest

from csi_model.errors import SourceCorrupt
from tests.node.node import WEIGHTS


def test_a_file_that_arrives_damaged_once_is_fetched_anew(node):
    node.source.corrupt_next()
    volume = node.create()
    node.stage(volume)
    assert node.files(volume)["weights"] == WEIGHTS


def test_a_file_that_arrives_damaged_again_is_the_sources_fault_and_releases_the_hold(node):
    node.source.corrupt_next(times=20)
    volume = node.create()
    with pytest.raises(SourceCorrupt, match="arrived damaged"):
        node.stage(volume)
    assert node.tree(volume) is None
    assert node.hold(volume) is None
