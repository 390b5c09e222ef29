"""What a node was told to have is brought, whatever happens to it; what it isn't told any more is given up."""

import threading
from contextlib import suppress

import pytest

from csi_model.core.copies import Guard, Orders, Wanted
from csi_model.core.fields import Auth
from csi_model.core.volume import Claim
from csi_model.errors import CsiModelError, InProgress, SourceDenied, SourceUnavailable, StoreFull, StoreUnusable
from csi_model.node.ahead import AT_ONCE, Ahead
from tests.fakes.claim_events import FakeClaimEvents
from tests.fakes.clock import Clock
from tests.node.node import Node
from tests.node.warming import PATIENCE
from tests.transfer.bringing import SMALL_CHUNK, content


class Ordered(Node):
    """A node that is given orders; each step is the test's."""

    def boot(self):
        super().boot()
        self.clock = Clock()
        self.lookups = []
        self.agent.ahead = Ahead(
            self.store, self.agent.warmer, named=self._named, open_source=self._open_source, clock=self.clock
        )  # fmt: skip
        self.store.changed.listen(self.agent.ahead.look)

    def _named(self, name):
        self.lookups.append(name)
        return self.registry.get(name)

    def model(self, name, **how):
        """Put a model into the bucket and make a volume of it."""
        self.source.files[f"{name}/weights"] = content(2 * SMALL_CHUNK, seed=name)
        return self.create(name, model=name, **how)

    def order(self, *wanted, urgent=(), guarded=None):
        orders = [Wanted(it.manifest.digest, it.volume_id, urgent=it in urgent) for it in wanted]
        self.agent.obey(Orders(tuple(sorted(orders, key=lambda it: not it.urgent)), guarded or {}))
        return self.agent.ahead.step()

    def settle(self):
        """Step until nothing runs."""
        pause = self.agent.ahead.step()
        while running := list(self.agent.ahead._running.values()):
            for it in running:
                with_patience(it.warmup)
            pause = self.agent.ahead.step()
        return pause

    def ask_for(self, volume):
        """Stage it as for a pod, which is told to come again."""
        with pytest.raises(InProgress):
            self.stage(volume, timeout=0.0)

    def running(self, *volumes):
        return [self.warmup(volume) is not None for volume in volumes]

    def staged(self, *volumes):
        return [self.tree(volume) is not None for volume in volumes]

    def failure(self, volume):
        return self.agent.ahead.failures.all().get(volume.manifest.digest)


def with_patience(warmup):
    with suppress(CsiModelError, RuntimeError):
        assert warmup.wait("nobody", PATIENCE)


@pytest.fixture
def node(tmp_path, small_chunks):
    made = Ordered(tmp_path, grace=0.0, claim_events=FakeClaimEvents())
    yield made
    made.close()


def test_what_is_wanted_is_brought_without_secrets(node):
    volume = node.create()
    node.order(volume)
    node.settle()
    assert (node.staged(volume), node.opened) == ([True], [{}])
    assert node.hold(volume) is None


def test_what_is_here_is_not_looked_up(node):
    volume = node.create()
    node.order(volume)
    node.settle()
    node.lookups.clear()
    node.order(volume)
    assert (node.settle(), node.lookups) == (None, [])


def test_what_is_on_its_way_is_not_looked_up_again(node):
    volume = node.create()
    stall = node.source.stall_next()
    node.order(volume)
    node.order(volume)
    assert node.lookups == [volume.volume_id]
    stall.released.set()


@pytest.mark.parametrize("lose", ["evict", "condemn"])
def test_a_copy_that_is_lost_is_brought_again(node, lose):
    volume = node.create()
    node.order(volume)
    node.settle()
    if lose == "evict":
        node.store.retention.evict(volume.manifest.digest)
    else:
        node.lose(volume)
    node.settle()
    assert node.staged(volume) == [True]


def test_what_is_not_wanted_any_more_is_given_up_and_what_came_stays_for_the_next(node):
    volume = node.create()
    stall = node.source.stall_next()
    node.order(volume)
    assert stall.reached.wait(PATIENCE)
    warmup = node.warmup(volume)
    node.order()
    with_patience(warmup)
    assert (node.staged(volume), node.settle()) == ([False], None)


def test_a_pod_that_wants_it_too_goes_on_with_it(node):
    volume = node.create()
    stall = node.source.stall_next()
    node.order(volume)
    assert stall.reached.wait(PATIENCE)
    node.ask_for(volume)
    warmup = node.warmup(volume)
    node.order()
    stall.released.set()
    with_patience(warmup)
    assert node.staged(volume) == [True]


def test_a_pod_that_goes_leaves_it_to_be_brought_ahead(node):
    volume = node.create()
    stall = node.source.stall_next()
    node.order(volume)
    assert stall.reached.wait(PATIENCE)
    node.ask_for(volume)
    node.unstage(volume)
    stall.released.set()
    node.settle()
    assert node.staged(volume) == [True]


def test_few_are_brought_at_the_same_time_and_the_others_after_them(node):
    volumes = [node.model(name) for name in "abcd"]
    stall = node.source.stall_next()
    node.order(*volumes)
    assert sum(node.running(*volumes)) == AT_ONCE
    stall.released.set()
    node.settle()
    assert node.staged(*volumes) == [True] * 4


def test_urgent_ones_come_first_and_wait_for_no_others(node):
    calm, urgent = [node.model(name) for name in "ab"], [node.model(name) for name in "cde"]
    stall = node.source.stall_next()
    node.order(*calm)
    node.order(*calm, *urgent, urgent=urgent)
    assert node.running(*calm, *urgent) == [True] * 5
    assert [node.warmup(it).urgent() for it in (*calm, *urgent)] == [False, False, True, True, True]
    stall.released.set()


def test_what_becomes_urgent_outruns_the_others_from_then_on(node):
    volume = node.create()
    stall = node.source.stall_next()
    node.order(volume)
    node.order(volume, urgent=[volume])
    assert node.warmup(volume).urgent()
    node.order(volume)
    assert not node.warmup(volume).urgent()
    stall.released.set()


# failures


def test_a_failure_is_told_and_tried_again_ever_more_seldom(node):
    volume = node.create()
    node.source_is_down = SourceUnavailable("no route to the source")
    node.order(volume)
    first = node.settle()
    assert (node.failure(volume).text, node.failure(volume).bytes) == ("no route to the source", volume.manifest.size)
    node.clock.now += first
    second = node.settle()
    assert 0 < first <= 1 < second <= 2
    node.source_is_down = None
    node.clock.now += second
    assert (node.settle(), node.staged(volume), node.failure(volume)) == (None, [True], None)


def test_it_is_tried_again_sooner_when_a_pod_waits_for_it(node):
    volume = node.create()
    node.source_is_down = SourceUnavailable("no route to the source")
    node.order(volume)
    for _ in range(100):
        pause = node.settle()
        if pause > 100:
            break
        node.clock.now += pause + 1e-6  # the sum of floats may fall just short of the time
    assert pause > 100
    node.order(volume, urgent=[volume])
    assert node.settle() <= 30


def test_it_is_not_tried_again_before_its_time(node):
    volume = node.create()
    node.source_is_down = SourceUnavailable("no route to the source")
    node.order(volume)
    node.settle()
    node.order(volume)
    node.settle()
    assert (len(node.opened), node.failure(volume).count) == (1, 1)


def test_one_that_fails_keeps_nobody_from_being_brought(node):
    lost, others = node.model("a"), [node.model(name) for name in "bcd"]
    node.source.files.clear()
    others = [node.model(name) for name in "efg"]
    node.order(lost, *others)
    node.settle()
    assert (node.staged(*others), "a/weights was overwritten" in node.failure(lost).text) == ([True] * 3, True)


def test_what_had_no_room_is_tried_again_as_soon_as_something_was_evicted(node):
    volume, idle = node.create(), node.model("idle")
    node.order(idle)
    node.settle()
    node.source_is_down = StoreFull("the copy needs more")
    node.order(volume)
    node.settle()
    node.source_is_down = None
    assert (node.settle() > 0, node.staged(volume)) == (True, [False])
    node.store.retention.evict(idle.manifest.digest)
    assert (node.settle(), node.staged(volume)) == (None, [True])


def test_a_registry_that_does_not_answer_is_asked_later(node):
    volume = node.create()
    node.registry.fail_with = StoreUnusable("the Kubernetes API doesn't answer")
    pause = node.order(volume)
    assert node.failure(volume).text == "the Kubernetes API doesn't answer"
    node.registry.fail_with = None
    node.clock.now += pause
    node.settle()
    assert node.staged(volume) == [True]


def test_a_volume_that_is_read_with_secrets_is_refused(node):
    volume = node.create(auth=Auth.SECRET)
    node.order(volume)
    assert "auth: secret" in node.failure(volume).text
    assert (node.running(volume), node.opened) == ([False], [])


def test_a_volume_of_another_revision_is_refused(node):
    volume, other = node.create(), node.model("b")
    node.agent.obey(Orders((Wanted(volume.manifest.digest, other.volume_id),)))
    node.agent.ahead.step()
    assert "is of revision" in node.failure(volume).text


def test_a_volume_that_is_not_there_is_said_not_to_be(node):
    node.agent.obey(Orders((Wanted("0" * 64, "m-gone"),)))
    node.agent.ahead.step()
    assert node.agent.ahead.failures.all()["0" * 64].text == "there is no ModelVolume m-gone"


def test_failures_of_what_is_not_wanted_any_more_are_forgotten(node):
    volume = node.create(auth=Auth.SECRET)
    node.order(volume)
    assert (node.order(), node.failure(volume)) == (None, None)


def test_a_bug_is_told_without_its_words(node):
    volume = node.create()
    node.source_is_down = RuntimeError("token=hunter2")
    node.order(volume)
    node.settle()
    assert "hunter2" not in node.failure(volume).text


def test_rights_that_do_not_suffice_are_told_though_a_pods_rights_go_on(node):
    volume = node.create()
    first = node.source.stall_next()
    node.order(volume)
    assert first.reached.wait(PATIENCE)
    node.ask_for(volume)
    node.source.fail_next(SourceDenied("revoked"))
    second, changed = node.source.stall_next(), threading.Event()
    node.store.changed.listen(changed.set)
    first.released.set()
    assert changed.wait(PATIENCE)
    node.agent.ahead.step()
    assert (node.failure(volume).text, node.running(volume)) == ("revoked", [True])
    second.released.set()


def test_the_end_of_a_warm_up_is_reason_to_look(node):
    volume = node.create()
    stall = node.source.stall_next()
    node.order(volume)
    assert stall.reached.wait(PATIENCE)
    changed = threading.Event()
    node.store.changed.listen(changed.set)
    node.source.files.clear()
    stall.released.set()
    assert changed.wait(PATIENCE)
    node.agent.ahead.step()
    assert "was overwritten or deleted" in node.failure(volume).text


# what it is told to give up


def test_what_is_released_is_deleted_when_nothing_holds_it(node):
    volume = node.create()
    node.order(volume)
    node.settle()
    node.stage(volume)
    node.order(guarded={volume.manifest.digest: Guard.RELEASED})
    assert node.staged(volume) == [True]
    node.unstage(volume)
    node.agent.ahead.step()
    assert node.staged(volume) == [False]


# people


def test_the_claim_hears_of_it(node):
    volume = node.create(claim=Claim("chat", "qwen"))
    node.order(volume)
    node.settle()
    assert node.claim_events.reasons("chat/qwen") == ["StagingStarted", "Staged"]


def test_the_claim_of_a_pod_that_joins_hears_it_once(node):
    volume = node.create(claim=Claim("chat", "qwen"))
    stall = node.source.stall_next()
    node.order(volume)
    assert stall.reached.wait(PATIENCE)
    node.ask_for(volume)
    stall.released.set()
    node.settle()
    assert node.claim_events.reasons("chat/qwen") == ["StagingStarted", "Staged"]


# the thread


def wait_until(node, so):
    changed = threading.Event()
    node.store.changed.listen(changed.set)
    while not so():
        assert changed.wait(PATIENCE)
        changed.clear()


def test_the_agent_does_it_all_by_itself(tmp_path, small_chunks):
    node = Node(tmp_path)
    try:
        volume = node.create()
        node.agent.start()
        node.agent.obey(Orders((Wanted(volume.manifest.digest, volume.volume_id),)))
        wait_until(node, lambda: node.tree(volume))
        node.lose(volume)
        wait_until(node, lambda: node.tree(volume))
    finally:
        node.close()
