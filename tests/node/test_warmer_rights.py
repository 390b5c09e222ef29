"""One volume's rights don't suffice: only that one fails."""

import threading

import pytest

from csi_model.errors import InProgress, InvalidArgument, SourceDenied
from tests.node.warming import PATIENCE, denied, like
from tests.transfer.bringing import chunk_reads


def test_if_the_rights_of_one_do_not_suffice_only_that_one_fails(bench):
    poor = like(bench.source)
    stall = poor.stall_next()
    poor.fail_next(SourceDenied("revoked"))
    warmup, _ = bench.want("poor", poor)
    stall.reached.wait(PATIENCE)
    bench.want("rich")
    stall.released.set()
    with pytest.raises(SourceDenied, match="revoked"):
        warmup.wait("poor", PATIENCE)
    assert warmup.wait("rich", PATIENCE)
    assert bench.is_staged()


def test_what_was_fetched_with_lost_rights_is_kept_for_the_next(bench):
    poor = like(bench.source)
    stall = poor.stall_next()
    poor.serve_next(2)
    poor.fail_next(SourceDenied("revoked"))
    warmup, _ = bench.want("poor", poor)
    stall.reached.wait(PATIENCE)
    bench.want("rich")
    stall.released.set()
    warmup.wait("rich", PATIENCE)
    assert chunk_reads(bench.source, "weights") == [3, 4]


def test_whoever_comes_again_with_better_rights_is_not_told_the_old_error(bench):
    stall = bench.source.stall_next()
    poor, gate = denied(bench.source), threading.Event()

    def open_poor():
        gate.wait(PATIENCE)
        return poor

    warmup, _ = bench.warmer.want(bench.manifest, "a", open_poor, urgent=False)
    bench.want("b")
    gate.set()
    with pytest.raises(SourceDenied):
        warmup.wait("a", PATIENCE)
    stall.reached.wait(PATIENCE)
    again, started = bench.want("a")
    assert (again is warmup, started) == (True, False)
    stall.released.set()
    assert again.wait("a", PATIENCE)


def test_an_error_of_old_rights_does_not_meet_who_has_brought_new_ones(bench):
    poor = denied(bench.source)
    entered, gate = threading.Event(), threading.Event()

    def open_poor():
        entered.set()
        gate.wait(PATIENCE)
        return poor

    warmup, _ = bench.warmer.want(bench.manifest, "a", open_poor, urgent=False)
    entered.wait(PATIENCE)
    bench.want("a")
    gate.set()
    assert warmup.wait("a", PATIENCE)


def test_when_the_rights_of_nobody_suffice_each_is_told_its_own_error_and_it_ends(bench):
    gate = threading.Event()

    def open_first():
        gate.wait(PATIENCE)
        return denied(bench.source, "first")

    warmup, _ = bench.warmer.want(bench.manifest, "a", open_first, urgent=False)
    bench.want("b", denied(bench.source, "second"))
    gate.set()
    with pytest.raises(SourceDenied, match="first"):
        warmup.wait("a", PATIENCE)
    with pytest.raises(SourceDenied, match="second"):
        warmup.wait("b", PATIENCE)
    with pytest.raises(InProgress):
        warmup.wait("stranger", PATIENCE)


def test_words_of_one_volume_that_make_no_sense_fail_only_that_one(bench):
    gate = threading.Event()

    def refuse():
        gate.wait(PATIENCE)
        raise InvalidArgument("secrets", "has no key")

    warmup, _ = bench.warmer.want(bench.manifest, "a", refuse, urgent=False)
    bench.want("b")
    gate.set()
    with pytest.raises(InvalidArgument):
        warmup.wait("a", PATIENCE)
    assert warmup.wait("b", PATIENCE)
