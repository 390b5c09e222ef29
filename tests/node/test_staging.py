import shutil
import threading
from dataclasses import replace

import pytest

from csi_model.core.capability import AccessMode, Capability
from csi_model.core.fields import Auth
from csi_model.core.volume import Claim
from csi_model.errors import (
    InProgress,
    InvalidArgument,
    RecordPending,
    SourceChanged,
    SourceDenied,
    SourceUnauthenticated,
    SourceUnavailable,
    StoreFull,
    StoreUnusable,
    UnsupportedCapability,
    VolumeExists,
    VolumeNotFound,
)
from tests.node.node import FILES, ONCE, WEIGHTS, Node
from tests.node.warming import PATIENCE
from tests.transfer.bringing import begin, chunk_reads, content

HOLD_KEPT = [SourceUnavailable("reset"), StoreFull("no room"), StoreUnusable("I/O error")]
HOLD_RELEASED = [SourceChanged("overwritten"), SourceDenied("revoked"), ZeroDivisionError("a bug")]


def test_staging_brings_the_whole_model(node):
    volume = node.create()
    node.stage(volume)
    assert node.files(volume) == {key.removeprefix("qwen/"): data for key, data in FILES.items()}


def test_staging_ten_times_fetches_once(node):
    volume = node.create()
    for _ in range(10):
        node.stage(volume)
    assert chunk_reads(node.source, "weights") == [0, 1, 2, 3, 4]
    assert len(node.store.holds.all()) == 1


def test_the_hold_is_there_before_the_first_byte(slow):
    volume, stall = slow.create(), slow.source.stall_next()
    with pytest.raises(InProgress):
        slow.stage(volume)
    assert stall.reached.wait(PATIENCE)
    assert slow.hold(volume).manifest == volume.manifest.digest


def test_the_hold_knows_what_a_restarted_agent_needs(node):
    volume = node.create(pin=True, capacity=10**9)
    node.stage(volume)
    hold = node.hold(volume)
    assert (hold.staging_path, hold.context) == (str(node.staging_path(volume)), volume.spec.context())
    assert (hold.bytes, hold.files, hold.capacity, hold.pin) == (len(WEIGHTS) + 2, 3, 10**9, True)


def test_nothing_appears_at_the_staging_path(node):
    volume = node.create()
    node.stage(volume)
    assert list(node.staging_path(volume).iterdir()) == []
    assert node.mounts.table() == {}


# waiting


def test_the_first_call_answers_early_with_the_progress_in_words(slow):
    volume, stall = slow.create(), slow.source.stall_next()
    with pytest.raises(InProgress, match=r"staging s3://models/qwen: 0 B of 328 kB"):
        slow.stage(volume)
    stall.released.set()


def test_a_later_call_joins_and_waits_to_the_end(slow):
    volume, stall = slow.create(), slow.source.stall_next()
    with pytest.raises(InProgress):
        slow.stage(volume)
    joined = begin(lambda: slow.stage(volume))
    stall.released.set()
    joined.result(PATIENCE)
    assert chunk_reads(slow.source, "weights") == [0, 1, 2, 3, 4]


def test_no_call_waits_longer_than_its_caller(node):
    volume = node.create()
    node.source.stall_next()
    with pytest.raises(InProgress):
        node.stage(volume, timeout=0.0)


def test_unstaging_during_staging_answers_at_once(slow):
    volume, stall = slow.create(), slow.source.stall_next()
    with pytest.raises(InProgress):
        slow.stage(volume)
    stall.reached.wait(PATIENCE)
    waiting = begin(lambda: slow.stage(volume))
    slow.unstage(volume)
    assert slow.hold(volume) is None
    with pytest.raises(InProgress):
        waiting.result(PATIENCE)


def test_a_call_whose_volume_was_unstaged_meanwhile_does_not_say_it_is_staged(node):
    mine, other = node.create("a"), node.create("b")
    stall = node.source.stall_next()
    waiting = begin(lambda: node.stage(mine))
    stall.reached.wait(PATIENCE)
    with pytest.raises(InProgress):
        node.stage(other, timeout=0.0)
    keeping = begin(lambda: node.stage(other))
    node.unstage(mine)
    stall.released.set()
    with pytest.raises(InProgress):
        waiting.result(PATIENCE)
    keeping.result(PATIENCE)
    assert node.tree(other) is not None


# errors


@pytest.mark.parametrize("error", HOLD_RELEASED)
def test_a_final_error_releases_the_hold(node, error):
    volume = node.create()
    node.source.fail_next(error, times=99)
    with pytest.raises(type(error)):
        node.stage(volume)
    assert node.hold(volume) is None


@pytest.mark.parametrize("error", HOLD_KEPT)
def test_a_transient_error_keeps_the_hold(node, error):
    volume = node.create()
    node.source.fail_next(error, times=99)
    with pytest.raises(type(error)):
        node.stage(volume)
    assert node.hold(volume) is not None


def test_a_final_error_leaves_the_hold_of_a_volume_that_a_pod_uses(node):
    volume = node.create()
    node.stage(volume)
    node.publish(volume)
    node.lose(volume)
    node.source.fail_next(SourceChanged("overwritten"))
    with pytest.raises(SourceChanged):
        node.stage(volume)
    assert node.hold(volume).targets


def test_a_volume_that_nobody_made_is_not_found(node):
    volume = node.create()
    node.registry.delete(volume.volume_id)
    with pytest.raises(VolumeNotFound, match="m-a"):
        node.stage(volume)
    assert node.store.holds.all() == []


def test_a_registry_that_fails_leaves_no_hold(node):
    volume = node.create()
    node.registry.fail_with = StoreUnusable("the registry is damaged")
    with pytest.raises(StoreUnusable):
        node.stage(volume)
    assert node.store.holds.all() == []


@pytest.mark.parametrize("change", [{"source": "s3://models/secret"}, {"auth": "ambient"}, {"endpoint": "http://evil"}])
def test_a_forged_context_is_refused(node, change):
    volume = node.create()
    with pytest.raises(InvalidArgument, match="volume_context"):
        node.stage(volume, context={**volume.spec.context(), **change})
    assert (node.hold(volume), node.source.reads) == (None, [])


def test_a_context_as_people_write_it_is_the_same_one(node):
    volume = node.create()
    for context in ({"source": "s3://models/qwen/", "auth": "anonymous"}, {**volume.spec.context(), "pin": "false"}):
        node.stage(volume, context=context)
    assert node.hold(volume).context == volume.spec.context()


def test_a_context_that_expects_the_volumes_revision_is_right(node):
    volume = node.create()
    for _ in range(2):
        node.stage(volume, context=volume.context())


@pytest.mark.parametrize("staged_before", [False, True])
def test_a_context_that_expects_another_revision_is_refused_with_both(node, staged_before):
    volume = node.create()
    if staged_before:
        node.stage(volume)
    with pytest.raises(InvalidArgument, match=f"is {'0' * 64}, volume m-a is {volume.manifest.digest}"):
        node.stage(volume, context={**volume.context(), "revision": "0" * 64})
    assert (node.hold(volume) is not None) == staged_before


def test_a_record_that_is_not_there_yet_leaves_no_hold(node):
    volume = node.create()
    node.registry.fail_with = RecordPending("no ModelVolume yet")
    with pytest.raises(RecordPending):
        node.stage(volume)
    assert node.store.holds.all() == []


def test_the_hold_knows_its_claim(node):
    volume = node.create(claim=Claim("chat", "qwen", "7f1d"))
    node.stage(volume)
    node.restart()
    assert node.hold(volume).claim == volume.claim


def test_a_context_of_another_version_is_refused(node):
    volume = node.create()
    with pytest.raises(InvalidArgument, match="schema"):
        node.stage(volume, context={**volume.spec.context(), "schema": "99"})


def test_what_kubelet_adds_to_the_context_is_no_forgery(node):
    volume = node.create()
    node.stage(
        volume,
        context={**volume.spec.context(), "csi.storage.k8s.io/pod.name": "pod-1", "storage.kubernetes.io/x": "y"},
    )


def test_another_capability_or_context_than_it_was_staged_with_is_refused(node):
    volume = node.create()
    node.stage(volume)
    for change in ({"capability": ONCE}, {"context": {**volume.spec.context(), "auth": "ambient"}}):
        with pytest.raises(VolumeExists):
            node.stage(volume, **change)
    node.stage(volume)


def test_a_capability_that_no_model_has_is_refused(node):
    volume = node.create()
    with pytest.raises(UnsupportedCapability):
        node.stage(volume, capability=Capability(AccessMode.MULTI_NODE_MULTI_WRITER))
    assert node.hold(volume) is None


def test_a_second_staging_path_is_refused_while_the_first_is_there(node, tmp_path):
    volume = node.create()
    node.stage(volume)
    with pytest.raises(VolumeExists, match="globalmount"):
        node.stage(volume, staging_path=tmp_path / "elsewhere")


def test_a_staging_path_that_is_gone_is_replaced(node, tmp_path):
    volume = node.create()
    request = node.stage_request(volume)
    node.stage(volume)
    shutil.rmtree(request.staging_path)
    node.agent.stage(replace(request, staging_path=tmp_path / "elsewhere"), timeout=PATIENCE)
    assert node.hold(volume).staging_path == str(tmp_path / "elsewhere")


# secrets


def test_secrets_reach_the_source_and_no_disk(node):
    volume = node.create(auth=Auth.SECRET)
    node.stage(volume, secrets={"password": "hunter2-hunter2"})
    assert node.opened == [{"password": "hunter2-hunter2"}]
    for path in node.root.rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes()


def test_bad_secrets_of_one_volume_do_not_fail_another_of_the_same_model(node):
    poor, rich = node.create("poor", auth=Auth.SECRET), node.create("rich", auth=Auth.SECRET)
    poor_is_first, both_want, real_open = threading.Event(), threading.Event(), node._open_source

    def open_source(spec, secrets):
        poor_is_first.set()
        both_want.wait(PATIENCE)
        if secrets["key"] != "good":
            raise SourceUnauthenticated("unknown key")
        return real_open(spec, secrets)

    node.agent._holding.open_source = open_source
    failing = begin(lambda: node.stage(poor, secrets={"key": "bad"}))
    poor_is_first.wait(PATIENCE)
    real_want = node.agent.warmer.want

    def want(*arguments, **how):
        answer = real_want(*arguments, **how)
        both_want.set()
        return answer

    node.agent.warmer.want = want
    going = begin(lambda: node.stage(rich, secrets={"key": "good"}))
    with pytest.raises(SourceUnauthenticated):
        failing.result(PATIENCE)
    going.result(PATIENCE)
    assert (node.hold(poor), node.tree(rich) is not None) == (None, True)


# what is here needs nobody


def test_a_staged_volume_is_staged_again_with_the_registry_gone_and_the_source_down(node):
    volume = node.create()
    node.stage(volume)
    node.registry.fail_with = StoreUnusable("gone")
    node.source_is_down = SourceUnavailable("down")
    node.stage(volume)


def test_the_same_after_a_restart_of_the_agent(node):
    volume = node.create()
    node.stage(volume)
    node.registry.fail_with = StoreUnusable("gone")
    node.source_is_down = SourceUnavailable("down")
    node.restart()
    node.stage(volume)


def test_a_second_volume_of_the_same_model_fetches_nothing(node):
    first, second = node.create("a"), node.create("b")
    node.stage(first)
    node.source.reads.clear()
    node.source_is_down = SourceUnavailable("down")
    node.stage(second)
    assert node.source.reads == []


def test_a_new_revision_fetches_only_the_difference(node):
    node.stage(node.create("a"))
    node.source.reads.clear()
    node.source.files["qwen/adapter"] = content(2000)
    newer = node.create("b")
    node.stage(newer)
    assert {path for path, _, _ in node.source.reads} == {"adapter"}
    assert node.files(newer)["adapter"] == content(2000)


def test_the_old_revision_stays_what_it_was(node):
    older = node.create("a")
    node.stage(older)
    node.source.files["qwen/weights"] = content(3000, seed=9)
    newer = node.create("b")
    node.stage(newer)
    assert (node.files(older)["weights"], node.files(newer)["weights"]) == (WEIGHTS, content(3000, seed=9))


# unstaging


def test_unstaging_keeps_the_copy_and_ends_the_hold(node):
    volume = node.create()
    node.stage(volume)
    node.unstage(volume)
    assert (node.hold(volume), node.tree(volume) is not None) == (None, True)


def test_unstaging_what_is_not_staged_is_no_error(node):
    volume = node.create()
    for _ in range(3):
        node.unstage(volume)
    node.agent.unstage("anything at all", node.root / "nowhere")


def test_unstaging_at_another_path_leaves_the_volume_alone(node):
    volume = node.create()
    node.stage(volume)
    node.agent.unstage(volume.volume_id, node.root / "elsewhere")
    assert node.hold(volume) is not None


def test_unstaging_needs_neither_registry_nor_source(node):
    volume = node.create()
    node.stage(volume)
    node.registry.fail_with = StoreUnusable("gone")
    node.restart()
    node.unstage(volume)
    assert node.hold(volume) is None


def test_a_pinned_volume_marks_its_copy_and_an_unstage_notes_when(node):
    volume = node.create(pin=True)
    node.stage(volume)
    (tree,) = node.store.trees.all()
    assert tree.pinned


# many at once


def test_calls_for_many_volumes_at_once_all_end_staged(tmp_path, small_chunks):
    node = Node(tmp_path)
    for model in ("one", "two", "three"):
        node.source.files |= {f"{model}/shared": WEIGHTS, f"{model}/own": content(100_000, seed=model)}
    volumes = [node.create(f"{model}-{n}", model=model) for model in ("one", "two", "three") for n in range(4)]
    together = threading.Barrier(len(volumes))

    def stage(volume):
        together.wait(PATIENCE)
        node.stage(volume)
        node.stage(volume)

    for answer in [begin(stage, volume) for volume in volumes]:
        answer.result(PATIENCE)
    assert all(node.files(volume)["shared"] == WEIGHTS for volume in volumes)
    assert len(node.store.holds.all()) == len(volumes)
    node.close()
