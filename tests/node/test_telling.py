"""What people see on their claims while a model is staged."""

import threading

import pytest

from csi_model.core.volume import Claim
from csi_model.errors import (
    InProgress,
    MountFailed,
    SourceChanged,
    SourceDenied,
    SourceUnavailable,
    StoreFull,
)
from csi_model.node import telling
from csi_model.node.telling import FAILED, PERIOD, STAGED, STOPPED, Listener, Telling
from csi_model.node.warmup import Warmup
from tests.fakes.claim_events import FakeClaimEvents
from tests.fakes.clock import Clock
from tests.fakes.source import FakeSource
from tests.node.warming import PATIENCE, manifest_of

MINE, OTHERS = Claim("chat", "qwen"), Claim("batch", "qwen")


class Heard:
    """Telling with a fake clock, one warm-up, and what was said."""

    def __init__(self):
        self.events, self.clock, self.observed = FakeClaimEvents(), Clock(), []
        self.telling = Telling(
            self.events, node="node2", observe=lambda *seen: self.observed.append(seen), clock=self.clock
        )
        self.warmup = Warmup(manifest_of(FakeSource({"qwen/weights": bytes(16_400), "qwen/config": b"{}"})))

    def join(self, volume="a", claim=MINE):
        self.telling.joined(self.warmup, volume, Listener(claim, "s3://models/qwen"))

    def end(self, error=None):
        self.telling.ended(self.warmup, error)


@pytest.fixture
def heard():
    return Heard()


def test_the_beginning_says_what_and_where(heard):
    heard.join()
    assert heard.events.said == [
        ("chat/qwen", "StagingStarted", "staging s3://models/qwen (16.4 kB, 2 files) on node2", False)
    ]


def test_a_call_that_is_repeated_is_not_told_again(heard):
    heard.join()
    heard.join()
    assert heard.events.reasons() == ["StagingStarted"]


def test_progress_is_told_every_twenty_seconds(heard):
    heard.join()
    for now in (119.0, 120.0, 139.9, 140.0):
        heard.clock.now = now
        heard.telling.tell_progress()
    assert heard.events.reasons() == ["StagingStarted", "Staging", "Staging"]


def test_progress_tells_the_words_of_the_moment(heard):
    heard.join()
    heard.warmup.meter.found(4_100)
    heard.clock.now += PERIOD
    heard.telling.tell_progress()
    assert heard.events.message("Staging") == "staging s3://models/qwen on node2: 4.10 kB of 16.4 kB"


def test_the_end_says_how_much_in_which_time_and_what_was_here(heard):
    heard.join()
    heard.warmup.meter.found(4_100)
    heard.warmup.meter.landed(12_302)
    heard.end()
    assert heard.events.message("Staged").startswith("staged 16.4 kB in ")
    assert heard.events.message("Staged").endswith(" on node2 (4.10 kB of it was there already)")


def test_a_copy_that_was_fetched_whole_has_no_such_words(heard):
    heard.join()
    heard.warmup.meter.landed(16_402)
    heard.end()
    assert heard.events.message("Staged").endswith(" on node2")


@pytest.mark.parametrize(
    ("error", "who"),
    [
        (SourceDenied("the key may not read it"), "Now the owner of the source has to act"),
        (
            SourceUnavailable("it was reset"),
            "It is tried again by itself; if it stays, the owner of the source has to act",
        ),
        (StoreFull("no room"), "It is tried again by itself; if it stays, the administrator of node2 has to act"),
        (MountFailed("no"), "Now the administrator of node2 has to act"),
    ],
)
def test_a_failure_says_why_and_who_has_to_act(heard, error, who):
    heard.join()
    heard.end(error)
    assert heard.events.said[1:] == [
        ("chat/qwen", "StagingFailed", f"staging s3://models/qwen on node2 failed: {error}. {who}", True)
    ]


def test_what_a_bug_says_is_not_told(heard):
    heard.join()
    heard.end(ValueError("password=hunter2"))
    assert "hunter2" not in heard.events.message("StagingFailed")


def test_one_warm_up_tells_all_its_claims(heard):
    heard.join("a", MINE)
    heard.join("b", OTHERS)
    heard.clock.now += PERIOD
    heard.telling.tell_progress()
    heard.end()
    for claim in ("chat/qwen", "batch/qwen"):
        assert heard.events.reasons(claim) == ["StagingStarted", "Staging", "Staged"]


def test_who_has_left_hears_no_more(heard):
    heard.join("a", MINE)
    heard.join("b", OTHERS)
    heard.telling.left(heard.warmup, "a")
    heard.end()
    assert heard.events.reasons("chat/qwen") == ["StagingStarted"]
    assert heard.events.reasons("batch/qwen") == ["StagingStarted", "Staged"]


def test_bad_rights_are_told_to_their_claim_alone(heard):
    heard.join("a", MINE)
    heard.join("b", OTHERS)
    heard.telling.refused(heard.warmup, "a", SourceDenied("revoked"))
    heard.end()
    assert heard.events.reasons("chat/qwen") == ["StagingStarted", "StagingFailed"]
    assert heard.events.reasons("batch/qwen") == ["StagingStarted", "Staged"]


def test_a_warm_up_that_nobody_wants_ends_in_silence(heard):
    heard.join()
    heard.end(InProgress("nobody wanted it"))
    assert heard.events.reasons() == ["StagingStarted"]


def test_after_the_end_nothing_is_told(heard):
    heard.join()
    heard.end()
    heard.clock.now += PERIOD
    heard.telling.tell_progress()
    assert heard.events.reasons() == ["StagingStarted", "Staged"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(None, STAGED), (SourceChanged("x"), FAILED), (ValueError("x"), FAILED), (InProgress("x"), STOPPED)],
)
def test_each_end_is_counted(heard, error, outcome):
    heard.end(error)
    assert [what for what, _ in heard.observed] == [outcome]


def test_in_the_background_the_progress_comes_by_itself(heard, monkeypatch):
    monkeypatch.setattr(telling, "_TICK", 0.0)
    told = threading.Event()
    say = heard.events.say
    heard.events.say = lambda claim, **what: (say(claim, **what), what["reason"] == "Staging" and told.set())
    heard.telling.start()
    heard.join()
    heard.clock.now += PERIOD
    assert told.wait(PATIENCE)
    heard.telling.close()
