"""What a node's labels say of the Revisions on it."""

import pytest

from csi_model.cluster.steering.labelling import labels_due
from csi_model.core.placement import Placement, label_of
from csi_model.core.warmth import Warmth
from tests.cluster.steering.places import A, B, C, copy, node, warming

PREFER, REQUIRE, ANY = Placement.PREFER, Placement.REQUIRE, Placement.ANY


def due(node, steered=None, most=100):
    labels = labels_due(node, {A: PREFER, B: REQUIRE, C: PREFER} if steered is None else steered, most=most)
    names = {label_of(revision): revision for revision in (A, B, C)}
    return {names[key]: value for key, value in labels.items()}


def test_a_whole_copy_is_staged_and_one_that_is_brought_is_warming():
    assert due(node("n1", A, warming(B), copy(C, Warmth.COLD, 1))) == {A: "staged", B: "warming"}


def test_a_silent_node_has_no_label():
    assert due(node("n1", A, warming(B), alive=False)) == {}


@pytest.mark.parametrize(("guard", "value"), [("Keep", {B: "staged"}), ("Withdrawn", {}), ("Released", {})])
def test_the_label_goes_before_the_copy(guard, value):
    assert due(node("n1", B, guarded={B: guard})) == value


@pytest.mark.parametrize("steered", [{}, {A: ANY}])
def test_what_nobody_is_steered_to_has_none(steered):
    assert due(node("n1", A), steered) == {}


def test_what_is_required_comes_first_then_what_is_held_wanted_and_released_last():
    here = node("n1", copy(A, released=5.0), copy(B, released=1.0), copy(C, released=6.0))
    assert list(due(here, most=2)) == [B, C]
    here = node("n1", copy(A, held=True), copy(B, released=1.0), copy(C, released=6.0))
    assert list(due(here, most=2)) == [B, A]
    here = node("n1", copy(A, released=5.0), copy(B, released=1.0), copy(C, released=6.0), wanted=[A])
    assert list(due(here, most=2)) == [B, A]
