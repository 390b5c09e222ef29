"""How a copy that pods are steered to strictly is evicted."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.cluster.facts import Guarded, Node
from csi_model.cluster.steering.guarding import guards, next_look
from csi_model.core.copies import Guard
from csi_model.core.placement import label_of
from csi_model.core.warmth import Warmth
from tests.cluster.steering.places import A, B, copy, node, warming

KEEP, WITHDRAWN, RELEASED = Guard.KEEP, Guard.WITHDRAWN, Guard.RELEASED
LABELLED = {label_of(A): "staged"}
LEAVING = copy(A, leaving=True)


def guard(here, *, needed=(), now=100.0, required=(A,)):
    return guards(here, set(required), set(needed), now=now, grace=30.0)


def at(here, state, since=0.0):
    return replace(here, guarded={A: Guarded(state, since)})


@pytest.mark.parametrize("here", [node("n1", A), node("n1", warming(A))])
def test_a_copy_of_a_strict_volume_is_kept(here):
    assert guard(here) == {A: Guarded(KEEP, 100.0)}


def test_a_copy_that_nobody_requires_is_not_guarded():
    assert guard(node("n1", A, B), required=[B]) == {B: Guarded(KEEP, 100.0)}
    assert guard(at(node("n1", A), WITHDRAWN), required=[]) == {}


@pytest.mark.parametrize("here", [node("n1"), node("n1", copy(A, Warmth.COLD, 1))])
def test_where_the_copy_is_gone_the_guard_is(here):
    assert guard(at(here, RELEASED)) == {}


def test_a_silent_nodes_guards_stay_as_they_are():
    here = at(node("n1", A, alive=False), WITHDRAWN, 5.0)
    assert guard(here) == here.guarded
    assert guard(Node("n1", guarded=here.guarded)) == here.guarded


def test_keeping_goes_on_as_long_as_it_does():
    assert guard(at(node("n1", A), KEEP, 5.0)) == {A: Guarded(KEEP, 5.0)}


def test_one_that_would_leave_is_withdrawn():
    assert guard(at(node("n1", LEAVING, labels=LABELLED), KEEP, 5.0)) == {A: Guarded(WITHDRAWN, 100.0)}


def test_the_grace_begins_anew_while_the_label_is_there():
    assert guard(at(node("n1", LEAVING, labels=LABELLED), WITHDRAWN, 5.0)) == {A: Guarded(WITHDRAWN, 100.0)}


def test_it_is_released_when_the_grace_is_over():
    here = at(node("n1", LEAVING), WITHDRAWN, 71.0)
    assert guard(here) == here.guarded
    assert guard(here, now=101.0) == {A: Guarded(RELEASED, 101.0)}
    assert guard(at(here, RELEASED, 101.0), now=200.0) == {A: Guarded(RELEASED, 101.0)}


@pytest.mark.parametrize("state", [WITHDRAWN, RELEASED])
@pytest.mark.parametrize(
    ("here", "needed"),
    [(node("n1", LEAVING), [A]), (node("n1", LEAVING, wanted=[A]), []), (node("n1", A), []),
     (node("n1", replace(LEAVING, held=True)), [])],
)  # fmt: skip
def test_it_is_kept_again_if_anybody_needs_it_or_it_need_not_leave(state, here, needed):
    assert guard(at(here, state), needed=needed) == {A: Guarded(KEEP, 100.0)}


def test_a_clock_that_goes_back_does_not_turn_anything_back():
    assert guard(at(node("n1", LEAVING), KEEP, 500.0)) == {A: Guarded(WITHDRAWN, 500.0)}


def test_the_next_look_is_when_the_first_grace_ends():
    both = {A: Guarded(WITHDRAWN, 80.0), B: Guarded(WITHDRAWN, 90.0)}
    assert next_look(both, 100.0, 30.0) == 10.0
    assert next_look(both, 500.0, 30.0) == 0.0
    assert next_look({A: Guarded(KEEP, 80.0), B: Guarded(RELEASED, 80.0)}, 100.0, 30.0) is None


STEPS = st.lists(
    st.tuples(st.floats(0, 40), st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans()), max_size=12
)


@given(STEPS)
def test_nothing_is_released_that_is_needed_or_was_labelled_within_the_grace(steps):
    now, states, labelled = 1000.0, {}, -1.0
    for passed, leaving, held, needed, wanted, label in steps:
        now += passed
        here = node(
            "n1", copy(A, leaving=leaving, held=held), wanted=[A] if wanted else [], labels=LABELLED if label else {}
        )
        before = states.get(A)
        states = guard(replace(here, guarded=states), needed=[A] if needed else [], now=now)
        labelled = now if label else labelled
        if states[A].guard is RELEASED and (before is None or before.guard is not RELEASED):
            assert before.guard is WITHDRAWN
            assert now - labelled >= 30.0
        if states[A].guard is not KEEP:
            assert leaving
            assert not any([held, needed, wanted])
        assert before is None or states[A].since >= before.since
        assert guard(replace(here, guarded=states), needed=[A] if needed else [], now=now)[A].since >= states[A].since
