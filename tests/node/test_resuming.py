"""What a restarted agent, or the next call, does about copies that aren't whole."""

import logging
from dataclasses import replace

import pytest

from csi_model.core.fields import Auth
from csi_model.errors import (
    InProgress,
    NotStaged,
    SourceChanged,
    SourceDenied,
    SourceUnavailable,
    StoreFull,
    StoreUnusable,
)
from tests.node.node import WEIGHTS
from tests.node.warming import PATIENCE
from tests.transfer.bringing import begin, chunk_reads

HOLD_KEPT = [SourceUnavailable("reset"), StoreFull("no room"), StoreUnusable("I/O error")]
HOLD_RELEASED = [SourceChanged("overwritten"), SourceDenied("revoked"), ZeroDivisionError("a bug")]


def half_staged(node, **options):
    """Stage two chunks of the weights, and stop the agent."""
    volume = node.create(**options)
    node.source.serve_next(2)
    stall = node.source.stall_next()
    with pytest.raises(InProgress):
        node.stage(volume, timeout=0.0)
    stall.reached.wait(PATIENCE)
    node.restart()
    node.source._next.clear()
    node.source.reads.clear()
    return volume


def test_a_restarted_agent_goes_on_by_itself(node):
    volume = half_staged(node)
    node.agent._holding.resume()
    warmup = node.warmup(volume)
    assert warmup is None or warmup.wait(volume.volume_id, PATIENCE)
    assert (node.tree(volume) is not None, chunk_reads(node.source, "weights")) == (True, [2, 3, 4])


def test_what_was_on_secrets_waits_for_the_next_call_and_keeps_its_spans(node):
    volume = half_staged(node, auth=Auth.SECRET)
    node.agent._holding.resume()
    assert (node.warmup(volume), node.source.reads) == (None, [])
    node.stage(volume, secrets={"key": "good"})
    assert chunk_reads(node.source, "weights") == [2, 3, 4]


def test_one_hold_that_can_not_be_resumed_does_not_keep_others_from_it(node, caplog):
    odd, volume = node.create("odd"), half_staged(node)
    hold = node.hold(volume)
    node.store.holds.put(replace(hold, volume_id=odd.volume_id, context={**hold.context, "schema": "99"}))
    with caplog.at_level(logging.WARNING):
        node.agent._holding.resume()
    assert "m-odd" in caplog.text
    assert node.warmup(volume) is not None or node.tree(volume) is not None


def test_a_volume_that_was_unstaged_before_it_could_be_resumed_is_not(node):
    volume = half_staged(node)
    real, holds = node.store.holds.all, node.store.holds

    def all_then_unstaged():
        found = real()
        node.unstage(volume)
        return found

    holds.all = all_then_unstaged
    node.agent._holding.resume()
    assert node.warmup(volume) is None


def test_a_volume_can_not_be_unstaged_in_the_middle_of_being_resumed(node, monkeypatch):
    monkeypatch.setattr("csi_model.node.locks._PATIENCE", 0.0)
    volume = half_staged(node)
    real, refused = node.agent.warmer.want, []

    def want(*arguments, **how):
        refused.append(begin(node.unstage, volume).exception(PATIENCE))
        return real(*arguments, **how)

    node.agent.warmer.want = want
    node.agent._holding.resume()
    assert [type(error) for error in refused] == [InProgress]


def test_a_lost_copy_is_fetched_again_by_the_next_call(node):
    volume = node.create()
    node.stage(volume)
    node.lose(volume)
    node.stage(volume)
    assert node.files(volume)["weights"] == WEIGHTS


def test_a_lost_manifest_is_taken_from_the_registry_again(node):
    volume = node.create()
    node.stage(volume)
    node.lose(volume)
    node.store.layout.manifest(volume.manifest.digest).unlink()
    node.stage(volume)
    assert node.tree(volume) is not None


def test_a_lost_manifest_is_not_replaced_by_that_of_another_revision(node):
    volume = node.create()
    node.stage(volume)
    node.lose(volume)
    node.store.layout.manifest(volume.manifest.digest).unlink()
    node.registry.delete(volume.volume_id)
    node.source.files["qwen/more"] = b"more"
    node.create()
    with pytest.raises(StoreUnusable, match="another revision"):
        node.stage(volume)


def test_bringing_again_what_was_on_secrets_says_what_to_do(node):
    volume = node.create(auth=Auth.SECRET)
    node.stage(volume)
    node.lose(volume)
    assert isinstance(node.agent._holding.bring_again(node.hold(volume), urgent=True), NotStaged)
