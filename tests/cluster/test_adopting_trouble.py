import re

import pytest

from csi_model.cluster.model_volume import name_of
from csi_model.cluster.persistent_volumes import Known
from csi_model.errors import SourceDenied, SourceUnavailable
from tests.cluster.adopter import NOWHERE, SECRET, TEAM, names, registered, said, settled, wait
from tests.cluster.pvs import CLAIM, PATH, RECORDS, pv
from tests.contracts.registry_contract import record
from tests.fakes.apiserver_objects import Refused


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (pv(context={"source": "s3://other/x", "auth": "anonymous"}), r"s3://models/\*\*"),
        (
            pv(context={"source": "s3://models/x", "auth": "anonymous", "endpoint": "http://169.254.169.254"}),
            "endpoint",
        ),
        (pv(context={"sauce": "s3://models/x"}), "source"),
        (pv(context={"source": "s3://models/x", "auth": "anonymous", "inclde": "*.json"}), "did you mean 'include'"),
        (pv(context={}), "source"),
        (pv(accessModes=["ReadWriteMany"]), "use ReadOnlyMany"),
        (pv(context=SECRET), "nodeStageSecretRef"),
        (pv(context=SECRET, csi={"nodeStageSecretRef": {"namespace": "a", "name": "b"}}), "a/b .* doesn't exist"),
        (pv(context={"source": "s3://models/x", "auth": "anonymous", "revision": "0" * 64}), "was changed"),
        (pv(context={"source": "s3://models/x", "schema": "99"}), "schema"),
        (pv(handle="x" * 129), "volumeHandle"),
    ],
)
def test_what_cannot_be_is_said_on_the_volume(server, adopting, item, words):
    server.create(PATH, item)
    adopting.start()
    wait(server, lambda: said(server, NOWHERE))
    assert re.search(words, said(server, NOWHERE))
    assert names(server) == []


def test_a_bound_volume_has_it_said_on_its_claim(server, adopting, resolver):
    resolver.errors = [SourceDenied("the key may not list models")]
    server.create(PATH, pv(claim=CLAIM, phase="Bound"))
    adopting.start()
    wait(server, lambda: said(server, TEAM))
    assert said(server, TEAM) == "the key may not list models"


def test_what_failed_is_tried_again(server, adopting, resolver):
    resolver.errors = [SourceUnavailable("gone"), RuntimeError("a bug"), SourceDenied("no")]
    server.create(PATH, pv())
    adopting.start()
    wait(server, lambda: names(server))
    assert len(resolver.asked) == 4


@pytest.mark.parametrize("data", [{"a": "no base64!"}, {"a": "/w=="}, {"a": 7}, 7])
def test_a_secret_that_is_none_is_refused_without_its_content(server, adopting, data):
    server.create("/api/v1/namespaces/a/secrets", {"metadata": {"name": "b"}, "data": data})
    server.create(PATH, pv(context=SECRET, csi={"nodeStageSecretRef": {"namespace": "a", "name": "b"}}))
    adopting.start()
    wait(server, lambda: said(server, NOWHERE))
    assert "isn't text" in said(server, NOWHERE)
    assert "base64!" not in said(server, NOWHERE)


@pytest.mark.parametrize(
    ("right", "words"),
    [
        (("create", "modelvolumes"), "may not create modelvolumes"),
        (("get", "secrets"), "may not get secrets .* in namespace a"),
    ],
)
def test_a_right_that_is_missing_is_said_and_what_lacked_it_is_tried_again(server, adopting, right, words):
    server.denied = {right}
    server.create("/api/v1/namespaces/a/secrets", {"metadata": {"name": "b"}, "data": {}})
    server.create(PATH, pv(context=SECRET, csi={"nodeStageSecretRef": {"namespace": "a", "name": "b"}}))
    adopting.start()
    wait(server, lambda: said(server, NOWHERE))
    assert re.search(words, said(server, NOWHERE))
    server.denied.clear()
    wait(server, lambda: names(server))


def test_an_api_that_does_not_answer_is_no_matter_of_the_volumes(server, adopting, resolver):
    create = server.objects.create

    def failing(*arguments):
        server.objects.create = create
        raise Refused(500, "Failure", "a bad moment")

    server.create(PATH, pv())
    server.objects.create = failing
    adopting.start()
    wait(server, lambda: names(server))
    assert said(server, NOWHERE) == ""
    assert len(resolver.asked) == 2


def test_a_second_volume_with_the_same_handle_waits_for_the_first_to_go(server, adopting, registry):
    server.create(PATH, pv("pv-1", handle="h"))
    adopting.start()
    wait(server, lambda: names(server))
    server.create(PATH, pv("pv-2", handle="h"))
    wait(server, lambda: said(server, NOWHERE))
    assert "another PersistentVolume" in said(server, NOWHERE)
    server.delete(f"{PATH}/pv-1")
    wait(server, lambda: names(server) and registered(server) == "pv-2")


def test_a_static_volume_gets_no_hold_of_a_provisioned_one(server, adopting, registry):
    registry.put(record("h"))
    server.create(PATH, pv(handle="h"))
    adopting.start()
    wait(server, lambda: said(server, NOWHERE))
    assert "another PersistentVolume" in said(server, NOWHERE)


def test_a_volume_that_is_deleted_while_it_is_resolved_gets_no_record(server, adopting, resolver):
    resolver.gate.clear()
    server.create(PATH, pv())
    adopting.start()
    assert resolver.arrived.acquire(timeout=10)
    server.delete(f"{PATH}/pv-1")
    resolver.gate.set()
    settled(adopting)
    assert names(server) == []


def test_a_provisioned_volume_that_is_released_while_its_record_is_made_loses_it(server, adopting, resolver):
    server.create(PATH, pv(provisioned=True, phase="Bound", claim=CLAIM))
    create = server.objects.create

    def released_meanwhile(*arguments):
        made = create(*arguments)
        if made["kind"] == "ModelVolume":
            server.patch(f"{PATH}/pv-1", {"status": {"phase": "Released"}})
        return made

    server.objects.create = released_meanwhile
    adopting.start()
    assert resolver.arrived.acquire(timeout=10)
    settled(adopting)
    assert names(server) == []


def test_nothing_is_done_before_all_is_known(server, adopting, registry):
    registry.put(record("mine"), persistent_volume="pv-1")
    server.denied = {("list", "persistentvolumes")}
    adopting.start()
    server.wait_for_watch("modelvolumes")
    assert names(server) == [name_of("mine")]
    assert not adopting.synced
    server.denied.clear()
    wait(server, lambda: not names(server))
    assert adopting.synced


def test_it_stops_before_the_api_has_answered(server, adopting):
    server.failures = [500] * 1000
    adopting.start()
    adopting.stop(30)
    assert not any(worker.is_alive() for worker in adopting._workers)


def test_what_is_resolved_after_the_end_is_thrown_away(server, adopting, resolver):
    resolver.gate.clear()
    server.create(PATH, pv())
    adopting.start()
    assert resolver.arrived.acquire(timeout=10)
    adopting.stop(0)
    resolver.gate.set()
    adopting.stop(30)
    assert names(server) == []


def test_a_volume_that_is_made_anew_while_it_is_resolved_gets_what_it_names_now(server, adopting, resolver, registry):
    resolver.gate.clear()
    server.create(PATH, pv())
    adopting.start()
    assert resolver.arrived.acquire(timeout=10)
    with server.objects.changed:
        server.delete(f"{PATH}/pv-1")
        server.create(PATH, pv(context={"source": "s3://models/other", "auth": "anonymous"}))
    resolver.gate.set()
    wait(server, lambda: names(server))
    assert str(registry.get("pv-1").spec.source) == "s3://models/other"
    assert resolver.asked[-1][0] == "s3://models/other"


def test_old_news_delete_nothing(server, adopting, registry):
    registry.put(record("h"), persistent_volume="pv-1")
    server.create(PATH, pv(handle="h"))
    adopting._seen.records.replaced({("", name_of("h")): Known("h", "pv-1")})  # and nothing of the volume yet
    adopting._settle("pv-1")
    assert names(server) == [name_of("h")]


def test_a_claim_is_written_down_once_and_forgotten_with_its_volume(server, adopting):
    server.create(PATH, pv(claim=CLAIM))
    adopting.start()
    wait(server, lambda: names(server))
    server.patch(f"{PATH}/pv-1", {"status": {"phase": "Bound"}})
    server.patch(f"{PATH}/pv-1", {"spec": {"mountOptions": ["ro"]}})
    settled(adopting)
    assert ("patch", f"{RECORDS}/{name_of('pv-1')}") not in server.requests
    server.delete(f"{PATH}/pv-1")
    wait(server, lambda: not names(server))
    settled(adopting)
    assert adopting._claims == {}


@pytest.mark.parametrize("made_from", ["../namespaces/a/secrets/b", "pv?x=y", "", "A"])
def test_a_record_that_says_it_was_made_from_no_name_is_asked_nobody_for(server, adopting, registry, made_from):
    registry.put(record("h"), persistent_volume=made_from)
    adopting.start()
    settled(adopting)
    assert names(server) == [name_of("h")]
    assert not [path for verb, path in server.requests if verb == "get"]
