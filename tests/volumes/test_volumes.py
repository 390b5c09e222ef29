import gc
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.core.capability import AccessMode, Capability
from csi_model.core.naming import volume_id_of
from csi_model.core.volume import VolumeRecord
from csi_model.errors import (
    CapacityExceeded,
    CsiModelError,
    InProgress,
    InvalidArgument,
    InvalidToken,
    SourceDenied,
    SourceUnavailable,
    StoreUnusable,
    TooManyCalls,
    VolumeExists,
    VolumeNotFound,
)
from csi_model.volumes import resolutions
from csi_model.volumes.volumes import Volumes
from tests.fakes.registry import MemoryRegistry
from tests.fakes.source import FakeSource

PATIENCE = 30.0
READER = Capability(AccessMode.MULTI_NODE_READER_ONLY)
FILES = {"qwen/weights": b"w" * 1000, "qwen/config.json": b"{}"}
SIZE = 1002


class SlowSource(FakeSource):
    """Lists only while its gate is open; remembers how many listings began and with which secrets."""

    def __init__(self) -> None:
        super().__init__(dict(FILES))
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Semaphore(0)
        self.listings = 0
        self.fail_with: Exception | None = None

    def _entries(self, reference, selection):
        self.listings += 1
        self.began.release()
        assert self.gate.wait(PATIENCE)
        if self.fail_with is not None:
            raise self.fail_with
        return super()._entries(reference, selection)


class CountingCondition(threading.Condition):
    """Tells a test how many threads have begun to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Semaphore(0)

    def wait(self, timeout=None):
        self.waits.release()  # the lock is still held: what the test does next comes after the wait has begun
        return super().wait(timeout)


class Controller(Volumes):
    """Volumes with a slow source and a registry in memory, and short ways to call them."""

    def __init__(self, **settings) -> None:
        self.source, self.registry, self.opened = SlowSource(), MemoryRegistry(), []
        super().__init__(self.registry, self._open, **settings)
        self._resolutions._changed = self.changed = CountingCondition()

    def _open(self, spec, secrets):
        self.opened.append(dict(secrets))
        return self.source

    def make(self, name: str = "pvc-1", timeout: float = PATIENCE, **changes) -> VolumeRecord:
        asked = {"parameters": {"source": "s3://models/qwen"}, "capabilities": [READER], "secrets": {}}
        return self.create(name=name, timeout=timeout, **{**asked, "required_bytes": 0, "limit_bytes": 0, **changes})

    def wait_for_calls(self, count: int) -> None:
        """Return when so many calls wait for a listing."""
        for _ in range(count):
            assert self.changed.waits.acquire(timeout=PATIENCE)

    def settle(self) -> None:
        """Return when nothing runs in the background."""
        for thread in threading.enumerate():
            if thread.name.startswith("resolve "):
                thread.join(PATIENCE)


@pytest.fixture
def controller() -> Iterator[Controller]:
    controller = Controller()
    yield controller
    controller.source.gate.set()
    controller.close()


def test_a_created_volume_is_remembered(controller: Controller):
    record = controller.make()
    assert record.volume_id == volume_id_of("pvc-1")
    assert controller.get(record.volume_id) == record
    assert [entry.path for entry in record.manifest.entries] == ["config.json", "weights"]
    assert controller.source.closed


def test_the_same_call_gives_the_same_volume_and_lists_once(controller: Controller):
    assert controller.make() == controller.make()
    assert controller.source.listings == 1


def test_include_and_exclude_choose_the_files(controller: Controller):
    record = controller.make(parameters={"source": "s3://models/qwen", "exclude": "*.json"})
    assert [entry.path for entry in record.manifest.entries] == ["weights"]


def test_the_capacity_asked_for_exactly_is_given_and_another_is_refused(controller: Controller):
    size = 10 * 2**30
    assert controller.make(required_bytes=size, limit_bytes=size).capacity == size
    with pytest.raises(VolumeExists, match=f"a capacity of {size} bytes"):
        controller.make(required_bytes=2 * size, limit_bytes=2 * size)


def test_other_parameters_of_a_known_name_are_refused(controller: Controller):
    controller.make()
    with pytest.raises(VolumeExists, match="region"):
        controller.make(parameters={"source": "s3://models/qwen", "region": "eu-central-1"})


def test_a_model_above_the_limit_leaves_no_volume(controller: Controller):
    with pytest.raises(CapacityExceeded):
        controller.make(limit_bytes=SIZE - 1)
    assert not controller.registry.ids()
    assert controller.make(limit_bytes=SIZE).capacity == SIZE


def test_the_drivers_own_rights_are_not_lent_to_a_claim(controller: Controller):
    parameters = {"source": "s3://models/${pvc.name}", "auth": "ambient", "csi.storage.k8s.io/pvc/name": "qwen"}
    with pytest.raises(InvalidArgument, match=r"parameters\.auth"):
        controller.make(parameters=parameters)
    assert controller.source.listings == 0
    allowing = Controller(ambient_allow=["s3://models/*"])
    assert allowing.make(parameters=parameters).spec.from_claim
    allowing.close()


def test_a_call_whose_time_is_up_says_how_far_it_is(controller: Controller):
    controller.source.gate.clear()
    with pytest.raises(InProgress, match=r"still listing s3://models/qwen, \d+ ms so far"):
        controller.make(timeout=0.01)


def test_the_listing_outlives_its_call_and_is_not_lost(controller: Controller):
    controller.source.gate.clear()
    with pytest.raises(InProgress):
        controller.make(timeout=0)
    controller.source.gate.set()
    controller.settle()
    assert controller.registry.get(volume_id_of("pvc-1")) is not None
    controller.make(timeout=0)
    assert controller.source.listings == 1


def test_many_calls_share_one_listing(controller: Controller):
    controller.source.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(controller.make) for _ in range(8)]
        controller.wait_for_calls(8)
        controller.source.gate.set()
        records = {id(call.result(PATIENCE)) for call in calls}
    assert len(records) == 1
    assert controller.source.listings == 1


def test_a_failure_is_told_to_all_who_wait_and_then_forgotten(controller: Controller):
    controller.source.gate.clear()
    controller.source.fail_with = SourceDenied("no right to list")
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(controller.make) for _ in range(3)]
        controller.wait_for_calls(3)
        controller.source.gate.set()
        assert all(isinstance(call.exception(PATIENCE), SourceDenied) for call in calls)
    controller.source.fail_with = None
    assert controller.make()


def test_a_failure_that_nobody_waited_for_is_told_once(controller: Controller):
    controller.source.gate.clear()
    controller.source.fail_with = SourceUnavailable("connection refused")
    with pytest.raises(InProgress):
        controller.make(timeout=0)
    controller.source.gate.set()
    controller.settle()
    with pytest.raises(SourceUnavailable, match="connection refused"):
        controller.make()
    assert controller.source.listings == 1
    controller.source.fail_with = None
    assert controller.make()


def test_a_failure_of_other_arguments_is_not_told(controller: Controller):
    controller.source.gate.clear()
    controller.source.fail_with = SourceUnavailable("connection refused")
    with pytest.raises(InProgress):
        controller.make(timeout=0)
    controller.source.gate.set()
    controller.settle()
    controller.source.fail_with = None
    assert controller.make(required_bytes=5000).capacity == 5000


def test_other_arguments_while_one_runs_have_to_wait(controller: Controller):
    controller.source.gate.clear()
    with pytest.raises(InProgress):
        controller.make(timeout=0)
    with pytest.raises(InProgress, match="other arguments"):
        controller.make(required_bytes=5000)
    controller.source.gate.set()
    controller.settle()
    with pytest.raises(VolumeExists):
        controller.make(required_bytes=5000)


def test_too_many_listings_are_refused(controller: Controller, monkeypatch):
    monkeypatch.setattr(resolutions, "MAX_RUNNING", 2)
    controller.source.gate.clear()
    for name in ("pvc-1", "pvc-2"):
        with pytest.raises(InProgress):
            controller.make(name, timeout=0)
    with pytest.raises(TooManyCalls):
        controller.make("pvc-3")
    controller.source.gate.set()
    controller.settle()
    assert controller.make("pvc-3")


def test_a_registry_that_fails_is_told_and_the_next_call_lists_anew(controller: Controller):
    controller.source.gate.clear()
    with pytest.raises(InProgress):
        controller.make(timeout=0)
    controller.registry.fail_with = StoreUnusable("the disk is gone")
    controller.source.gate.set()
    controller.settle()
    controller.registry.fail_with = None
    with pytest.raises(StoreUnusable):
        controller.make()
    assert controller.make()


def test_another_process_that_was_faster_wins(controller: Controller):
    other = Controller()
    record = other.make()
    other.close()
    controller.source.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(controller.make)
        controller.wait_for_calls(1)
        controller.registry.put(record)
        controller.source.gate.set()
        assert call.result(PATIENCE) is record


def test_a_bug_in_a_source_reaches_the_caller_and_its_message_not_the_log(controller: Controller, caplog):
    controller.source.fail_with = RuntimeError("a message with s3cr3t")
    with pytest.raises(RuntimeError), caplog.at_level(logging.ERROR):
        controller.make()
    assert "_entries" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_secrets_reach_the_source_and_stay_nowhere(controller: Controller):
    class Secrets(dict):
        pass

    controller.source.gate.clear()
    controller.source.fail_with = SourceUnavailable("connection refused")
    with pytest.raises(InProgress):
        controller.make(timeout=0, secrets=Secrets(accessKeyId="s3cr3t"))
    controller.source.gate.set()
    controller.settle()
    assert controller.opened == [{"accessKeyId": "s3cr3t"}]
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) is Secrets]


def test_deleting_forgets_the_volume(controller: Controller):
    volume_id = controller.make().volume_id
    controller.delete(volume_id)
    controller.delete(volume_id)
    with pytest.raises(VolumeNotFound, match=volume_id):
        controller.get(volume_id)


def test_a_volume_that_is_deleted_while_it_is_made_never_appears(controller: Controller):
    controller.source.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(controller.make)
        controller.wait_for_calls(1)
        controller.delete(volume_id_of("pvc-1"))
        assert isinstance(call.exception(PATIENCE), InProgress)  # at once: the listing still hangs
    controller.source.gate.set()
    controller.settle()
    assert not controller.registry.ids()


def test_a_deleted_volume_can_be_made_again_while_the_old_listing_hangs(controller: Controller):
    controller.source.gate.clear()
    with pytest.raises(InProgress):
        controller.make(timeout=0)
    assert controller.source.began.acquire(timeout=PATIENCE)
    controller.delete(volume_id_of("pvc-1"))
    with pytest.raises(InProgress, match="still listing"):
        controller.make(timeout=0, required_bytes=5000)
    controller.source.gate.set()
    controller.settle()
    assert controller.make(required_bytes=5000).capacity == 5000
    assert controller.source.listings == 2


def test_closing_gives_up_what_hangs_and_nothing_appears_later(monkeypatch):
    monkeypatch.setattr("csi_model.volumes.volumes._STOPPING", 0.01)
    controller = Controller()
    controller.source.gate.clear()
    with pytest.raises(InProgress):
        controller.make(timeout=0)
    controller.close()
    controller.source.gate.set()
    controller.settle()
    assert not controller.registry.ids()
    with pytest.raises(InProgress, match="stopping"):
        controller.make()


def test_pages_cover_all_volumes_in_order(controller: Controller):
    made = sorted(controller.make(f"pvc-{number}").volume_id for number in range(5))
    seen, token = [], ""
    while True:
        records, token = controller.page(token=token, limit=2)
        seen += [record.volume_id for record in records]
        if not token:
            break
    assert seen == made
    assert [record.volume_id for record in controller.page(token="", limit=0)[0]] == made


def test_a_last_page_that_is_full_has_no_token(controller: Controller):
    for number in range(2):
        controller.make(f"pvc-{number}")
    assert controller.page(token="", limit=2)[1] == ""
    assert controller.page(token="", limit=0)[1] == ""


def test_deleting_between_pages_disturbs_nothing(controller: Controller):
    made = sorted(controller.make(f"pvc-{number}").volume_id for number in range(4))
    first, token = controller.page(token="", limit=2)
    for record in first:
        controller.delete(record.volume_id)
    controller.delete(made[2])
    assert [record.volume_id for record in controller.page(token=token, limit=2)[0]] == [made[3]]


@given(st.one_of(st.text(min_size=1), st.text().map("v1.".__add__), st.just("invalid-token")))
def test_a_token_of_others_is_refused(token: str):
    controller = Controller()
    try:
        controller.page(token=token, limit=1)
    except InvalidToken:
        return
    assert token.startswith("v1.")
    assert controller._registry.ids() == []


@pytest.mark.parametrize(
    "token", ["invalid-token", "v1.", "v1.!", "v1.bQ", "v1.bR==", "v2.bQ==", "bQ==", "v1.bQ== ", "v1./w=="]
)
def test_a_token_has_one_spelling(controller: Controller, token: str):
    with pytest.raises(InvalidToken):
        controller.page(token=token, limit=1)
    controller.page(token="v1.bQ==", limit=1)


def test_a_limit_below_zero_is_refused(controller: Controller):
    with pytest.raises(InvalidArgument, match="max_entries"):
        controller.page(token="", limit=-1)


def test_a_damaged_record_does_not_hide_the_others(controller: Controller, caplog):
    ids = sorted(controller.make(f"pvc-{number}").volume_id for number in range(3))
    whole = controller.registry.get

    def damaged(volume_id: str):
        if volume_id == ids[1]:
            raise StoreUnusable("torn")
        return whole(volume_id)

    controller.registry.get = damaged
    records, _ = controller.page(token="", limit=0)
    assert [record.volume_id for record in records] == [ids[0], ids[2]]
    assert ids[1] in caplog.text
    with pytest.raises(StoreUnusable):
        controller.get(ids[1])


def check(controller: Controller, volume_id: str, **changes) -> str:
    return controller.validate(volume_id, **{"capabilities": [READER], "context": {}, "parameters": {}, **changes})


def test_what_a_volume_can_do_is_confirmed(controller: Controller):
    record = controller.make()
    context = {**record.spec.context(), "storage.kubernetes.io/csiProvisionerIdentity": "x"}
    assert check(controller, record.volume_id) == ""
    assert check(controller, record.volume_id, context=context, parameters={"source": "s3://models/qwen"}) == ""
    assert check(controller, record.volume_id, context=record.context()) == ""
    assert check(controller, record.volume_id, context={"source": "s3://models/qwen"}) == ""
    assert check(controller, record.volume_id, capabilities=[Capability(AccessMode.SINGLE_NODE_WRITER)]) == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"capabilities": [Capability(AccessMode.MULTI_NODE_MULTI_WRITER)]}, "ReadOnlyMany"),
        ({"capabilities": [READER, Capability(AccessMode.SINGLE_NODE_WRITER, block=True)]}, "Filesystem"),
        ({"context": {"schema": "1", "source": "s3://models/other"}}, "volume_context"),
        ({"context": {"schema": "99", "source": "s3://models/qwen"}}, "volume_context"),
        ({"context": {"source": "s3://models/qwen", "revision": "0" * 64}}, "volume_context"),
        ({"parameters": {"source": "s3://models/other"}}, "other parameters"),
        ({"parameters": {"sauce": "s3://models/qwen"}}, "source"),
    ],
)
def test_what_a_volume_cannot_do_has_a_reason(controller: Controller, changes, reason: str):
    assert reason in check(controller, controller.make().volume_id, **changes)


def test_a_question_about_nothing_is_an_error(controller: Controller):
    with pytest.raises(VolumeNotFound):
        check(controller, "fake-vol-id")
    with pytest.raises(InvalidArgument, match="volume_capabilities"):
        check(controller, controller.make().volume_id, capabilities=[])


@given(st.dictionaries(st.text(), st.text()), st.text(), st.integers(), st.integers())
def test_hostile_arguments_raise_our_errors_only(parameters, name, required, limit):
    controller = Controller()
    try:
        controller.make(name, parameters=parameters, required_bytes=required, limit_bytes=limit)
    except CsiModelError:
        pass
    finally:
        controller.close()
