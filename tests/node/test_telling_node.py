"""What people see on their claims, with the whole node around it."""

import pytest

from csi_model.core.fields import Auth
from csi_model.core.volume import Claim
from csi_model.errors import (
    InProgress,
    SourceChanged,
    SourceUnauthenticated,
)
from csi_model.node.telling import ALREADY, FAILED, STAGED, STOPPED
from tests.fakes.claim_events import FakeClaimEvents
from tests.node.node import Node
from tests.node.warming import PATIENCE
from tests.transfer.bringing import SMALL_CHUNK, begin, content

MINE, OTHERS = Claim("chat", "qwen"), Claim("batch", "qwen")


@pytest.fixture
def watched(tmp_path, small_chunks):
    made = Node(tmp_path, claim_events=FakeClaimEvents())
    yield made
    made.close()


def test_staging_tells_the_claim(watched):
    watched.stage(watched.create(claim=MINE))
    assert watched.claim_events.reasons() == ["StagingStarted", "Staged"]
    assert watched.claim_events.message("StagingStarted") == "staging s3://models/qwen (328 kB, 3 files) on node-1"
    assert watched.observed == [STAGED]


def test_what_is_staged_already_is_staged_in_silence(watched):
    first, second = watched.create("a", claim=MINE), watched.create("b", claim=OTHERS)
    watched.stage(first)
    watched.stage(first)
    watched.stage(second)
    assert watched.claim_events.reasons("batch/qwen") == []
    assert watched.claim_events.reasons("chat/qwen") == ["StagingStarted", "Staged"]
    assert watched.observed == [STAGED, ALREADY, ALREADY]


def test_a_pods_own_volume_is_counted_and_told_to_no_claim(watched):
    watched.publish_inline("csi-1")
    watched.publish_inline("csi-2")
    assert watched.observed == [STAGED, ALREADY]
    assert watched.claim_events.said == []


def test_a_volume_whose_claim_nobody_knows_is_staged_in_silence(watched):
    watched.stage(watched.create())
    assert watched.claim_events.said == []


def test_a_failure_reaches_the_claim(watched):
    volume = watched.create(claim=MINE)
    watched.source.fail_next(SourceChanged("weights was overwritten"), times=99)
    with pytest.raises(SourceChanged):
        watched.stage(volume)
    assert "weights was overwritten" in watched.claim_events.message("StagingFailed")
    assert watched.observed == [FAILED]


def test_rights_that_do_not_suffice_reach_the_claim_and_count_as_a_failure(watched):
    volume = watched.create(claim=MINE, auth=Auth.SECRET)
    watched.source_is_down = SourceUnauthenticated("unknown key")
    with pytest.raises(SourceUnauthenticated):
        watched.stage(volume)
    watched.agent.warmer.close()
    assert watched.claim_events.reasons() == ["StagingStarted", "StagingFailed"]
    assert watched.observed == [FAILED]


def test_two_claims_of_one_model_are_both_told(watched):
    first, second = watched.create("a", claim=MINE), watched.create("b", claim=OTHERS)
    stall = watched.source.stall_next()
    one = begin(lambda: watched.stage(first))
    assert stall.reached.wait(PATIENCE)
    with pytest.raises(InProgress):
        watched.stage(second, timeout=0.0)
    stall.released.set()
    one.result(PATIENCE)
    for claim in ("chat/qwen", "batch/qwen"):
        assert watched.claim_events.reasons(claim) == ["StagingStarted", "Staged"]


def test_unstaging_in_the_middle_ends_in_silence(watched):
    volume, stall = watched.create(claim=MINE), watched.source.stall_next()
    with pytest.raises(InProgress):
        watched.stage(volume, timeout=0.0)
    assert stall.reached.wait(PATIENCE)
    watched.unstage(volume)
    stall.released.set()
    watched.agent.warmer.close()
    assert watched.claim_events.reasons() == ["StagingStarted"]
    assert watched.observed == [STOPPED]


def test_a_claim_whose_volume_was_unstaged_does_not_hear_that_it_is_staged_for_others(watched):
    first, second = watched.create("a", claim=MINE), watched.create("b", claim=OTHERS)
    stall = watched.source.stall_next()
    for volume in (first, second):
        with pytest.raises(InProgress):
            watched.stage(volume, timeout=0.0)
    assert stall.reached.wait(PATIENCE)
    watched.unstage(first)
    stall.released.set()
    watched.stage(second)
    assert watched.claim_events.reasons("chat/qwen") == ["StagingStarted"]
    assert watched.claim_events.reasons("batch/qwen") == ["StagingStarted", "Staged"]


def test_a_restarted_agent_tells_the_claim_as_before(watched):
    volume, stall = watched.create(claim=MINE), watched.source.stall_next()
    with pytest.raises(InProgress):
        watched.stage(volume, timeout=0.0)
    assert stall.reached.wait(PATIENCE)
    stall.released.set()
    watched.restart()
    watched.agent._holding.resume()
    watched.stage(volume)
    assert watched.claim_events.reasons()[-2:] == ["StagingStarted", "Staged"]


def test_bytes_that_were_here_are_counted_as_shared_and_those_that_went_as_evicted(watched):
    older = watched.create("a")
    watched.stage(older)
    watched.source.files["qwen/adapter"] = content(2 * SMALL_CHUNK)
    newer = watched.create("b")
    watched.stage(newer)
    assert watched.agent.warmer.shared() == older.manifest.size
    for volume in (older, newer):
        watched.unstage(volume)
    assert watched.store.blobs.evicted_bytes == 0
    watched.keeper.evict("unused", dry_run=False)
    assert watched.store.blobs.evicted_bytes >= newer.manifest.size
