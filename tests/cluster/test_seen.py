from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from csi_model.cluster.model_volume import name_of
from csi_model.cluster.persistent_volumes import Known, trim
from csi_model.cluster.seen import Seen
from tests.cluster.pvs import pv

PVS, HANDLES = ("pv-1", "pv-2", "pv-3"), ("h-1", "h-2")
VOLUME = trim(pv())
volumes = st.builds(lambda handle, capacity: (handle, capacity), st.sampled_from(HANDLES), st.integers(0, 1))
records = st.sampled_from([None, *PVS])
steps = st.one_of(
    st.tuples(st.just("volume"), st.sampled_from(PVS), st.none() | volumes),
    st.tuples(st.just("volumes"), st.dictionaries(st.sampled_from(PVS), volumes)),
    st.tuples(st.just("record"), st.sampled_from(HANDLES), st.none() | st.tuples(records)),
    st.tuples(st.just("records"), st.dictionaries(st.sampled_from(HANDLES), st.tuples(records))),
)


def made(name, value):
    return None if value is None else replace(VOLUME, name=name, handle=value[0], capacity=value[1])


def known(handle, value):
    return None if value is None else Known(handle, value[0])


def tell(seen, step):
    match step:
        case "volume", name, value:
            seen.volumes.changed(("", name), made(name, value))
        case "volumes", values:
            seen.volumes.replaced({("", name): made(name, value) for name, value in values.items()})
        case "record", handle, value:
            seen.records.changed(("", name_of(handle)), known(handle, value))
        case "records", values:
            seen.records.replaced({("", name_of(handle)): known(handle, value) for handle, value in values.items()})


def view(seen, name):
    """What the work on a PersistentVolume depends on."""
    volume = seen.volume(name)
    return volume, None if volume is None else seen.record(volume.handle), set(seen.made_from(name))


def needs_work(before, now):
    return before[:2] != now[:2] or not now[2] <= before[2]


@given(st.lists(steps, max_size=12))
def test_whatever_changes_what_a_volume_needs_makes_it_due(all_steps):
    due = set()
    seen = Seen(due.add)
    for step in all_steps:
        before = {name: view(seen, name) for name in PVS}
        due.clear()
        tell(seen, step)
        assert {name for name in PVS if needs_work(before[name], view(seen, name))} <= due


@given(st.lists(steps, max_size=12))
def test_what_is_gone_is_forgotten(all_steps):
    seen = Seen(lambda _: None)
    for step in all_steps:
        tell(seen, step)
    seen.volumes.replaced({})
    seen.records.replaced({})
    index = seen._index
    assert not any((index.volumes, index.records, index.wanting, index.made))


def test_what_is_told_again_makes_nothing_due():
    due = []
    seen = Seen(due.append)
    seen.volumes.changed(("", "pv-1"), VOLUME)
    seen.records.changed(("", name_of("pv-1")), Known("pv-1", "pv-1"))
    due.clear()
    seen.volumes.changed(("", "pv-1"), replace(VOLUME))
    seen.records.changed(("", name_of("pv-1")), Known("pv-1", "pv-1"))
    assert due == []
