import base64

import pytest

from csi_model.cluster.adopting import Adopting
from csi_model.cluster.model_volume import name_of
from csi_model.cluster.persistent_volumes import Known, trim
from csi_model.core.naming import volume_id_of
from csi_model.core.placement import ALL, Wants
from csi_model.core.volume import Claim
from tests.cluster.adopter import MANIFEST, NOWHERE, SECRET, TEAM, names, said, settled, wait
from tests.cluster.pvs import CLAIM, PATH, RECORDS, pv
from tests.contracts.registry_contract import record

CLASSES = "/apis/storage.k8s.io/v1/volumeattributesclasses"


def test_a_static_volume_gets_its_record(server, adopting, registry):
    server.create(PATH, pv(handle="mine", claim=CLAIM, phase="Bound"))
    adopting.start()
    wait(server, lambda: names(server))
    made = registry.get("mine")
    assert (made.name, made.manifest, str(made.spec.source)) == ("pv-1", MANIFEST, "s3://models/qwen")
    assert made.claim == Claim("team", "qwen", CLAIM["uid"])
    wait(server, lambda: said(server, TEAM, "ModelVolumeCreated"))
    assert "11 B in 2 files" in said(server, TEAM, "ModelVolumeCreated")


def test_a_volume_that_comes_later_too(server, adopting):
    adopting.start()
    server.wait_for_watch("persistentvolumes")
    server.create(PATH, pv())
    wait(server, lambda: names(server) == [name_of("pv-1")])


def test_a_record_that_was_lost_is_made_anew(server, adopting, registry):
    name = "pvc-5f0c2b3e-0000-4000-8000-000000000001"
    volume_id = volume_id_of(name)
    context = {**record().context(), "source": "s3://elsewhere/x"}  # the allow-list isn't for what was provisioned
    server.create(PATH, pv(name, handle=volume_id, provisioned=True, phase="Bound", claim=CLAIM, context=context))
    registry.put(record(volume_id))
    adopting.start()
    settled(adopting)
    server.delete(f"{RECORDS}/{volume_id}")
    wait(server, lambda: names(server) == [volume_id])
    made = registry.get(volume_id)
    assert made.manifest == MANIFEST
    assert (made.spec.placement, made.wanted) == (record().spec.placement, record().wanted)


def test_a_record_that_is_made_anew_wants_what_its_class_says(server, adopting, registry):
    parameters = {"warmReplicas": "all", "csi.storage.k8s.io/pvc/name": "x"}
    server.create(CLASSES, {"metadata": {"name": "busy"}, "driverName": "csi-model.io", "parameters": parameters})
    context = {"source": "s3://models/qwen", "auth": "anonymous", "warmReplicas": "1", "pin": "true"}
    server.create(PATH, pv(provisioned=True, context=context, volumeAttributesClassName="busy"))
    server.create(PATH, pv("pv-2", provisioned=True, context=context, volumeAttributesClassName="gone"))
    adopting.start()
    wait(server, lambda: len(names(server)) == 2)
    assert registry.get("pv-1").wanted == Wants(ALL, pin=True)
    assert registry.get("pv-2").wanted == Wants(1, pin=True)


def test_a_cluster_that_knows_no_such_classes_has_none(server, adopting, registry):
    server.unknown = {"volumeattributesclasses"}
    server.create(PATH, pv(volumeAttributesClassName="busy"))
    adopting.start()
    wait(server, lambda: names(server) == [name_of("pv-1")])


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"driverName": "ebs.csi.aws.com", "parameters": {"iops": "1"}}, "isn't one of the driver csi-model.io"),
        ({"driverName": "csi-model.io", "parameters": {"iops": "1"}}, "mutable_parameters.iops: is unknown"),
        (
            {"driverName": "csi-model.io", "parameters": {"warmReplicas": "1"}},
            "a Secret reaches a node only with a pod",
        ),
    ],
)
def test_a_class_for_other_volumes_is_told(server, adopting, item, words):
    server.create(CLASSES, {"metadata": {"name": "busy"}, **item})
    server.create("/api/v1/namespaces/a/secrets", {"metadata": {"name": "b"}, "data": {}})
    context = {"source": "s3://models/qwen", "auth": "secret" if "Secret" in words else "anonymous"}
    secret = {"nodeStageSecretRef": {"namespace": "a", "name": "b"}}
    server.create(PATH, pv(volumeAttributesClassName="busy", context=context, csi=secret))
    adopting.start()
    wait(server, lambda: words in said(server, NOWHERE))


def test_a_volume_that_has_its_record_is_left_alone(server, adopting, registry, resolver):
    volume_id = volume_id_of("pvc-1")
    registry.put(record(volume_id))
    server.create(PATH, pv("pvc-1", handle=volume_id, provisioned=True, phase="Bound"))
    adopting.start()
    settled(adopting)
    assert resolver.asked == []


def test_the_secret_of_the_volume_reads_its_source(server, adopting, resolver):
    data = {"accessKeyId": base64.b64encode(b"me").decode()}
    server.create("/api/v1/namespaces/a/secrets", {"metadata": {"name": "b"}, "data": data})
    server.create(PATH, pv(context=SECRET, csi={"nodeStageSecretRef": {"namespace": "a", "name": "b"}}))
    adopting.start()
    wait(server, lambda: names(server))
    assert resolver.asked == [("s3://models/qwen", {"accessKeyId": "me"})]


def test_the_record_goes_with_its_static_volume(server, adopting):
    server.create(PATH, pv())
    adopting.start()
    wait(server, lambda: names(server))
    server.delete(f"{PATH}/pv-1")
    wait(server, lambda: not names(server))


def test_the_record_of_a_volume_that_went_while_nobody_looked_goes_too(server, adopting, registry):
    registry.put(record("mine"), persistent_volume="pv-gone")
    registry.put(record("created"))
    adopting.start()
    wait(server, lambda: names(server) == [name_of("created")])


def test_a_volume_made_anew_with_another_handle_gets_another_record(server, adopting):
    server.create(PATH, pv(handle="one"))
    adopting.start()
    wait(server, lambda: names(server) == [name_of("one")])
    with server.objects.changed:
        server.delete(f"{PATH}/pv-1")
        server.create(PATH, pv(handle="two"))
    wait(server, lambda: names(server) == [name_of("two")])


def test_a_volume_made_anew_under_its_name_while_nobody_looked_gets_a_new_record(server, adopting, registry):
    registry.put(record("pv-1"), persistent_volume="pv-1", uid="of-the-first")
    server.create(PATH, pv(context={"source": "s3://models/other", "auth": "anonymous"}, claim=CLAIM))
    adopting.start()
    wait(server, lambda: [i["spec"]["source"] for i in server.all(RECORDS)] == ["s3://models/other"])
    settled(adopting)
    assert said(server, TEAM) == ""


def test_a_record_that_goes_while_its_claim_is_written_is_no_matter(server, adopting, registry):
    registry.put(record("pv-1"), persistent_volume="pv-1")
    server.create(PATH, pv(claim=CLAIM))
    adopting._seen.volumes.replaced({("", "pv-1"): trim(server.all(PATH)[0])})
    adopting._seen.records.replaced({("", name_of("pv-1")): Known("pv-1", "pv-1")})
    registry.delete("pv-1")
    adopting._settle("pv-1")
    assert adopting._claims == {}


def test_a_volume_that_is_bound_later_says_so_in_its_record(server, adopting, registry):
    server.create(PATH, pv())
    adopting.start()
    wait(server, lambda: names(server))
    server.patch(f"{PATH}/pv-1", {"spec": {"claimRef": CLAIM}, "status": {"phase": "Bound"}})
    wait(server, lambda: "claim" in server.all(RECORDS)[0]["spec"])
    assert registry.get("pv-1").claim == Claim("team", "qwen", CLAIM["uid"])


def test_a_released_volume_is_not_adopted(server, adopting, resolver):
    server.create(PATH, pv(provisioned=True, phase="Released"))
    adopting.start()
    settled(adopting)
    assert resolver.asked == []


def test_two_controllers_make_one_record(server, adopting, api, resolver):
    other = Adopting(api, resolve=resolver, allowed=adopting._allowed, events=adopting.events)
    for number in range(10):
        server.create(PATH, pv(f"pv-{number}"))
    adopting.start()
    other.start()
    wait(server, lambda: len(names(server)) == 10)
    settled(adopting)
    settled(other)
    other.stop(30)
    assert said(server, NOWHERE) == ""


def test_volumes_of_other_drivers_cost_nothing(server, adopting, resolver):
    for number in range(20):
        server.create(PATH, pv(f"pv-{number}", csi={"driver": "ebs.csi.aws.com"}))
    adopting.start()
    settled(adopting)
    assert resolver.asked == []
    assert adopting._seen.volume("pv-1") is None
