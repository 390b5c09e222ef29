"""When people are told, and how often."""

from dataclasses import replace

from tests.cluster.steering.offline import Offline
from tests.cluster.steering.places import GB, A, B, copy, pod, warming


def claiming(name, *claims, **more):
    return replace(pod(name, **more), claims=claims or ("claim",))


def progressing(seconds, replicas=1):
    offline = Offline()
    offline.node("n1", warming(A))
    offline.volume(A, replicas)
    for step in range(int(seconds * 5)):
        offline.says("n1", warming(A, present=step * GB // 20, rate=1e6))
        offline.pass_by(0.2)
    return offline


def test_progress_alone_is_written_every_five_seconds_at_most():
    assert 3 <= len(progressing(20).statuses()) <= 6


def test_that_something_is_staged_is_written_within_a_second():
    offline = progressing(8)
    before = len(offline.statuses())
    offline.says("n1", copy(A))
    offline.pass_by(1.1)
    assert offline.statuses()[before:][-1]["nodes"] == "1/1"


def test_a_status_is_not_written_again_while_nothing_changes():
    offline = progressing(3)
    offline.says("n1", copy(A))
    offline.pass_by(2)
    status = {key: value for key, value in offline.statuses()[-1].items() if value is not None}
    offline.volume(A, 1, status=status)
    before = len(offline.written)
    offline.pass_by(100)
    assert not [path for path, _ in offline.written[before:] if path.endswith("/status")]


def test_what_is_over_is_taken_out_of_the_status():
    offline = progressing(3)
    assert "secondsLeft" in offline.statuses()[-1]
    offline.says("n1", copy(A))
    offline.pass_by(2)
    assert offline.statuses()[-1]["secondsLeft"] is None


def test_the_claim_is_annotated_at_transitions():
    offline = Offline()
    offline.node("n1")
    offline.volume(A, 1)
    offline.pass_by(2)
    offline.says("n1", copy(A))
    offline.pass_by(2)
    assert [text[:14] for text in offline.annotations()] == ["staged on 0 of", "staged on 1 of"]


def test_a_claim_hears_that_its_model_is_brought_and_then_that_it_is_there():
    offline = Offline()
    offline.node("n1")
    offline.node("n2")
    offline.volume(A, 2)
    offline.pass_by(3)
    offline.says("n1", copy(A))
    offline.pass_by(3)
    assert offline.reasons() == ["WarmingAhead"]
    offline.says("n2", copy(A))
    offline.pass_by(30)
    assert offline.reasons() == ["WarmingAhead", "StagedAhead"]
    assert "n1, n2" in offline.said[0][2]


def test_a_claim_that_wants_nothing_ahead_hears_nothing():
    offline = Offline()
    offline.node("n1", copy(A))
    offline.volume(A)
    offline.pass_by(30)
    assert offline.said == []


def test_a_claim_hears_why_there_is_no_place_for_its_model():
    offline = Offline()
    offline.node("n1", available=0)
    offline.volume(A, 1)
    offline.pass_by(30)
    assert offline.reasons().count("NotPlaced") == 1


def test_a_new_leader_repeats_nothing():
    offline = Offline()
    offline.node("n1", copy(A))
    offline.volume(A, 1)
    offline.pass_by(3)
    status, said = offline.statuses()[-1], len(offline.said)
    offline.volume(A, 1, status=status)
    offline.leading = False
    offline.pass_by(3)
    offline.leading = True
    offline.pass_by(10)
    assert len(offline.said) == said


def test_a_pod_that_is_placed_at_once_is_told_nothing():
    offline = Offline()
    offline.node("n1", copy(A))
    offline.volume(A, placement="require")
    offline.pod(claiming("p"))
    offline.pass_by(1)
    offline.pod(claiming("p", node="n1"))
    offline.pass_by(60)
    assert offline.reasons("p") == []


def test_pods_that_wait_hear_where_and_how_far():
    offline = Offline()
    offline.node("n1", warming(A, rate=1e9))
    offline.volume(A, placement="require")
    offline.pod(claiming("p"))
    offline.pass_by(45)
    told = [message for who, reason, message in offline.said if reason == "WaitingForModel"]
    assert len(told) == 3
    assert "n1" in told[0]
    assert "left" in told[0]


def test_a_pod_of_models_on_different_nodes_is_told_once():
    offline = Offline()
    offline.node("n1", copy(A))
    offline.node("n2", copy(B))
    offline.volume(A, name="m-1")
    offline.volume(B, name="m-2", claim="other")
    offline.pod(claiming("p", "claim", "other", node="n1"))
    offline.pass_by(60)
    (message,) = [message for _, reason, message in offline.said if reason == "ModelsApart"]
    assert "s3://models/a on n1" in message
    assert "s3://models/b on n2" in message


def test_a_pod_whose_models_are_together_somewhere_is_not_told():
    offline = Offline()
    offline.node("n1", copy(A), copy(B))
    offline.node("n2", copy(B))
    offline.volume(A, name="m-1")
    offline.volume(B, name="m-2", claim="other")
    offline.pod(claiming("p", "claim", "other"))
    offline.pass_by(60)
    assert "ModelsApart" not in offline.reasons()
