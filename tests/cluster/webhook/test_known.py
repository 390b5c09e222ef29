import threading

import pytest

from csi_model.cluster.trimming import KnownVolume
from csi_model.cluster.webhook.index import KnownClaim, trim_claim, trim_class
from csi_model.cluster.webhook.known import Known
from tests.cluster.webhook.pods import CLAIM, resolved, volume

KEY = ("team", "model")
FOREVER = 10**6


def known(*, claims=None, classes=None, volumes=(), **bounds):
    """What is known when the watches have told these."""
    made = Known(**{"patience": 0.0, **bounds})
    made.claims.replaced({KEY: CLAIM} if claims is None else claims)
    made.classes.replaced({("", name): now for name, now in ({"models": True} if classes is None else classes).items()})
    made.volumes.replaced({("", it.facts.name): it for it in volumes})
    return made


def names(found):
    return [it.name for it in found.volumes]


def at_once(known, namespace, claims, made=()):
    """Ask, and fail rather than wait."""
    wait, known._index.wait = known._index.wait, lambda *_: pytest.fail("it waits")
    try:
        return known.find(namespace, claims, made)
    finally:
        known._index.wait = wait


class Asker(threading.Thread):
    """Asks in a thread, with all the time in the world."""

    def __init__(self, known, *claims, namespace="team"):
        super().__init__(daemon=True)  # a wait that nothing ends must fail the test, not hang it
        self.known, self.claims, self.namespace, self.found = known, claims, namespace, None

    def run(self):
        self.found = self.known.find(self.namespace, self.claims)

    def __enter__(self):
        before = self.known.waiting
        self.start()
        while self.known.waiting == before:
            threading.Event().wait(0.001)
        return self

    def __exit__(self, *_):
        self.join(20)
        assert not self.is_alive()


def test_the_model_of_a_claim_is_known():
    found = at_once(known(volumes=[resolved()]), "team", ["model"])
    assert (names(found), found.late) == (["m-1"], False)


def test_the_model_of_a_claim_that_is_resolved_meanwhile_is_waited_for():
    there = known(patience=FOREVER)
    with Asker(there, "model") as asker:
        there.volumes.changed(("", "m-1"), resolved())
    assert names(asker.found) == ["m-1"]


def test_a_claim_that_comes_after_its_pod_is_waited_for():
    there = known(claims={}, patience=FOREVER, volumes=[resolved()])
    with Asker(there, "model") as asker:
        there.claims.changed(KEY, CLAIM)
    assert names(asker.found) == ["m-1"]


def test_the_wait_ends_when_the_claim_turns_out_to_be_somebody_elses():
    there = known(claims={}, patience=FOREVER)
    with Asker(there, "model") as asker:
        there.claims.changed(KEY, KnownClaim("uid-1", "fast-disk"))
    assert (names(asker.found), asker.found.late) == ([], False)


def test_a_model_that_is_not_known_in_time_is_late():
    assert known().find("team", ["model"]).late
    assert known(claims={}).find("team", ["model"]).late


@pytest.mark.parametrize("classes", [{}, {"models": False}], ids=["another driver's", "waits for a consumer"])
def test_nobody_waits_for_what_does_not_come_before_the_pod(classes):
    found = at_once(known(classes=classes), "team", ["model"])
    assert (names(found), found.late) == ([], False)


def test_nobody_waits_for_a_claim_that_is_made_for_the_pod():
    there = known(
        claims={KEY: CLAIM, ("team", "old"): KnownClaim("uid-2", "models")},
        volumes=[resolved("m-2", claim="old", uid="uid-2")],
    )
    assert names(at_once(there, "team", [], ["old", "model", "none"])) == ["m-2"]


def test_what_a_deleted_claim_of_the_same_name_left_behind_does_not_count():
    assert names(known(volumes=[resolved(uid="uid-0")]).find("team", ["model"])) == []


def test_a_volume_that_does_not_know_its_claims_uid_counts():
    assert names(known(volumes=[resolved(uid=None)]).find("team", ["model"])) == ["m-1"]


def test_claims_of_other_namespaces_do_not_count():
    there = known(claims={KEY: CLAIM, ("other", "model"): KnownClaim("uid-1", "disk")}, volumes=[resolved()])
    assert names(there.find("other", ["model"])) == []


def test_no_more_wait_than_there_are_places():
    there = known(patience=FOREVER, most=1)
    with Asker(there, "model"):
        found = at_once(there, "elsewhere", ["unseen"])
        assert (names(found), found.late) == ([], True)
        there.volumes.changed(("", "m-1"), resolved())
    assert there.waiting == 0


def test_one_namespace_does_not_take_all_places():
    there = known(patience=FOREVER, most=8, most_of_one=1)
    with Asker(there, "model"):
        assert at_once(there, "team", ["model"]).late
        with Asker(there, "unseen", namespace="other"):
            there.claims.changed(("other", "unseen"), KnownClaim("u", ""))
        there.volumes.changed(("", "m-1"), resolved())


def test_it_is_synced_when_all_three_watches_have_told():
    there = Known()
    tellings = [there.claims, there.classes, there.volumes]
    for listener in tellings:
        assert not there.synced
        listener.replaced({})
        listener.replaced({})
    assert there.synced


def test_before_the_classes_are_known_claims_are_waited_for():
    there = Known(patience=0)
    there.claims.replaced({KEY: CLAIM})
    assert there.find("team", ["model"]).late


def test_what_is_gone_is_not_known_any_more():
    there = known(volumes=[resolved()], patience=0)
    there.volumes.changed(("", "m-1"), None)
    assert names(there.find("team", ["model"])) == []
    there.claims.changed(KEY, None)
    there.claims.changed(KEY, None)
    there.classes.changed(("", "models"), None)
    assert there.find("team", ["model"]).late


def test_a_volume_that_changes_hands_is_its_new_claims():
    there = known(claims={KEY: CLAIM, ("team", "new"): KnownClaim("uid-2", "models")}, volumes=[resolved()])
    there.volumes.changed(("", "m-1"), resolved(claim="new", uid="uid-2"))
    assert names(there.find("team", ["new"])) == ["m-1"]
    assert names(there.find("team", ["model"])) == []


def test_a_volume_without_a_claim_is_nobodys():
    there = known(volumes=[KnownVolume(volume())])
    there.volumes.changed(("", "m-1"), None)
    assert names(there.find("team", ["model"])) == []


def test_a_claim_is_trimmed_to_its_uid_and_class():
    item = {"metadata": {"uid": "u"}, "spec": {"storageClassName": "models"}}
    assert trim_claim(item) == KnownClaim("u", "models")
    item["metadata"]["annotations"] = {"volume.beta.kubernetes.io/storage-class": "old"}
    assert trim_claim(item) == KnownClaim("u", "old")
    assert trim_claim({"metadata": {"uid": "u"}}) == KnownClaim("u", "")
    assert trim_claim({"metadata": {"uid": 5}}) is None


@pytest.mark.parametrize(
    ("mode", "now"), [(None, True), ("Immediate", True), ("WaitForFirstConsumer", False)]
)  # fmt: skip
def test_a_class_of_ours_is_trimmed_to_when_it_binds(mode, now):
    assert trim_class({"provisioner": "csi-model.io", "volumeBindingMode": mode}) is now
    assert trim_class({"provisioner": "other", "volumeBindingMode": mode}) is None
