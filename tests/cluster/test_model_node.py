import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.cluster import model_node
from csi_model.cluster.facts import Guarded
from csi_model.cluster.model_node import (
    MAX_COPIES,
    MAX_ERROR,
    MAX_WANTED,
    Readiness,
    guarded_of,
    heartbeat_of,
    parse_orders,
    parse_report,
    render,
    render_spec,
    render_status,
    trim,
)
from csi_model.core.copies import Copy, Guard, NodeReport, Orders, Wanted
from csi_model.core.warmth import Warmth

A, B, C = "a" * 64, "b" * 64, "c" * 64
NOW = 1_900_000_000.25
REPORT = NodeReport(
    total=2_000_000_000_000, used=612_000_000_000, available=900, evictable=70,
    copies=(
        Copy(A, Warmth.STAGED, 70, present=70, pinned=True, released=NOW - 9.5, leaving=True),
        Copy(B, Warmth.WARMING, 200, present=90, rate=12.0, held=True),
        Copy(C, Warmth.COLD, 5, error="the source is gone"),
    ),
)  # fmt: skip
WANTED = (Wanted(A, "m-1", urgent=True), Wanted(B, "s-2", pin=True))
GUARDED = {A: Guarded(Guard.WITHDRAWN, NOW), C: Guarded(Guard.KEEP, 12.5)}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([A, B]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def written(report=REPORT, **changes):
    status = render_status(report, **{"generation": 3, "now": NOW, "version": "0.1.0", **changes})
    return json.loads(json.dumps({"metadata": {"name": "n"}, "status": status}))


def told(wanted=WANTED, guarded=GUARDED):
    return json.loads(json.dumps({"metadata": {"name": "n"}, "spec": render_spec(wanted, guarded)}))


def test_what_an_agent_says_is_read_as_it_was_meant():
    assert parse_report(written()) == REPORT
    assert heartbeat_of(written()) == NOW


def test_what_a_node_is_told_is_read_as_it_was_meant():
    assert parse_orders(told()) == Orders(WANTED, {A: Guard.WITHDRAWN, C: Guard.KEEP})
    assert guarded_of(told()) == GUARDED


def test_people_see_how_full_it_is_and_what_is_coming():
    status = written()["status"]
    assert (status["capacity"], status["used"]) == ("2.00 TB", "612 GB")
    assert (status["staged"], status["warming"]) == (1, "1 (45 %)")
    assert written(NodeReport())["status"]["warming"] == ""


def test_it_is_ready_unless_it_says_otherwise():
    [condition] = written()["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["observedGeneration"]) == ("Ready", "True", 3)
    gone = Readiness(ready=False, since=0.0, reason="Stopping", message="the agent ends")
    [condition] = written(readiness=gone)["status"]["conditions"]
    assert (condition["status"], condition["lastTransitionTime"]) == ("False", "1970-01-01T00:00:00Z")


def test_times_have_fractions():
    assert written()["status"]["heartbeat"] == "2030-03-17T17:46:40.250000Z"


def test_what_is_urgent_comes_first_whatever_was_written():
    calm, urgent = Wanted(A, "m-1"), Wanted(B, "m-2", urgent=True)
    assert render_spec([calm, urgent], {})["wanted"][0]["revision"] == B
    item = told()
    item["spec"]["wanted"].reverse()
    assert parse_orders(item).wanted == WANTED


def test_a_node_that_never_spoke_has_no_report():
    assert parse_report(render("n", "uid-1")) is None
    assert heartbeat_of(render("n", "uid-1")) is None


def test_a_whole_object_is_kept_as_what_it_says():
    item = render("n", "uid-1")
    item["metadata"] |= {"uid": "u", "generation": 4}
    found = trim({**item, **told(), "metadata": item["metadata"], "status": written()["status"]})
    assert (found.name, found.uid, found.generation, found.owner_uid) == ("n", "u", 4, "uid-1")
    assert (found.report, found.heartbeat, found.wanted, found.guarded) == (REPORT, NOW, WANTED, GUARDED)
    assert found.orders == parse_orders(told())


@pytest.mark.parametrize(
    "change",
    [
        {"revision": A.upper()}, {"revision": 7}, {"warmth": "hot"}, {"bytes": -1}, {"bytes": 2**63}, {"bytes": True},
        {"released": "yesterday"}, {"released": "2030-01-01T00:00:00"}, {"released": "9999-12-31T23:59:59-23:00" * 2},
        {"held": "yes"}, {"presentBytes": 1.5}, {"error": None},
    ],
)  # fmt: skip
def test_a_bad_copy_is_left_out(change):
    item = written()
    item["status"]["copies"][0] |= change
    assert [copy.revision for copy in parse_report(item).copies] == [B, C]


@pytest.mark.parametrize("change", [{"revision": "../x"}, {"volume": "a/b"}, {"volume": ""}, {"urgent": 1}])
def test_a_bad_want_is_left_out(change):
    item = told()
    item["spec"]["wanted"][0] |= change
    assert parse_orders(item).wanted == WANTED[1:]


@pytest.mark.parametrize("change", [{"state": "Gone"}, {"state": None}, {"since": "soon"}, {"since": 3}])
def test_a_guard_that_makes_no_sense_keeps(change):
    item = told()
    item["spec"]["guarded"][0] |= change
    assert guarded_of(item)[A] == Guarded(Guard.KEEP, 0.0)


def test_of_two_entries_of_a_revision_the_first_counts():
    twice = told((Wanted(A, "m-1"), Wanted(A, "m-2")))
    assert parse_orders(twice).wanted == (Wanted(A, "m-1"),)
    item = told()
    item["spec"]["guarded"].append({**item["spec"]["guarded"][0], "state": "Released"})
    assert guarded_of(item)[A].guard is Guard.WITHDRAWN


def test_lists_are_bounded_when_read_and_when_written():
    many = [Wanted(f"{number:064x}", "m-1", urgent=number == MAX_WANTED) for number in range(MAX_WANTED + 1)]
    spec = render_spec(many, {})
    assert (len(spec["wanted"]), spec["wanted"][0]["revision"]) == (MAX_WANTED, many[-1].revision)
    assert len(parse_orders({"spec": {"wanted": 2 * spec["wanted"]}}).wanted) == MAX_WANTED


def test_too_many_copies_lose_the_cold_ones_first():
    copies = [Copy(f"{number:064x}", Warmth.COLD, 1) for number in range(MAX_COPIES)]
    staged = Copy("f" * 64, Warmth.STAGED, 1)
    status = written(NodeReport(copies=(*copies, staged)))["status"]
    assert len(status["copies"]) == MAX_COPIES
    assert status["copies"][-1]["revision"] == staged.revision


def test_a_long_error_is_cut():
    [copy] = written(NodeReport(copies=(Copy(A, Warmth.COLD, 1, error="x" * 999),)))["status"]["copies"]
    assert len(copy["error"]) == MAX_ERROR


@given(JSON)
def test_nothing_that_is_read_raises(item):
    for read in (trim, parse_report, heartbeat_of, parse_orders, guarded_of):
        read(item)


@given(JSON, st.sampled_from(["spec", "status", "metadata"]), st.data())
def test_nothing_inside_raises(value, part, data):
    item = {**written(), **told(), "metadata": {**render("n", "u")["metadata"], "uid": "u"}}
    place = item[part]
    while isinstance(place, dict | list) and place and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not isinstance(inner, dict | list):
            break
        place = inner
    if isinstance(place, list):
        place.append(value)
    elif place:
        place[data.draw(st.sampled_from(sorted(place)))] = value
    found = trim(item)
    assert found is None or all(isinstance(copy, Copy) for copy in (found.report or NodeReport()).copies)


@given(st.floats(0, 2e11))
def test_times_are_read_as_they_were_meant(when):
    assert abs(heartbeat_of({"status": {"heartbeat": model_node.time_text(when)}}) - when) < 1e-3


@given(st.floats(allow_nan=False) | st.integers())
def test_times_that_no_calendar_has_are_written_all_the_same(when):
    assert heartbeat_of({"status": {"heartbeat": model_node.time_text(when)}}) is not None
