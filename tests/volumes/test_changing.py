"""What can be changed while a volume lives, and what an annotation makes of it."""

from collections.abc import Iterator

import pytest

from csi_model.core.capability import AccessMode, Capability
from csi_model.core.placement import ALL, Wants
from csi_model.core.volume import Claim, VolumeRecord
from csi_model.errors import ClaimIncomplete, InvalidArgument, StoreUnusable, VolumeExists, VolumeNotFound
from csi_model.volumes.volumes import Volumes
from tests.fakes.registry import MemoryRegistry
from tests.fakes.source import FakeSource

OPEN = {"source": "s3://models/qwen", "auth": "anonymous"}
METADATA = {"csi.storage.k8s.io/pvc/namespace": "chat", "csi.storage.k8s.io/pvc/name": "qwen"}
ANNOTATED = {"source": "${pvc.annotations['model']}", "allowedSources": "s3://models/**", "auth": "ambient", **METADATA}
READER = Capability(AccessMode.MULTI_NODE_READER_ONLY)
UID = "5f0c2b3e-0000-4000-8000-000000000001"


class Controller(Volumes):
    """Volumes with short ways to call them, and one claim whose annotations can be written."""

    def __init__(self) -> None:
        self.registry, self.annotations, self.asked = MemoryRegistry(), {}, []
        self.error: Exception | None = None
        super().__init__(self.registry, self._open, annotations=self._look_up)

    def _open(self, spec, secrets):
        return FakeSource({"qwen/weights": b"w", "other/weights": b"o"})

    def _look_up(self, claim: Claim):
        self.asked.append(claim)
        if self.error is not None:
            raise self.error
        return self.annotations

    def make(self, parameters=OPEN, mutable=None, name="pvc-1") -> VolumeRecord:
        return self.create(
            name=name, parameters=parameters, mutable=mutable or {}, capabilities=[READER], required_bytes=0,
            limit_bytes=0, secrets={}, timeout=30,
        )  # fmt: skip

    def check(self, volume_id: str, parameters=None, mutable=None) -> str:
        asked = {"capabilities": [READER], "context": {}, "parameters": parameters or {}, "mutable": mutable or {}}
        return self.validate(volume_id, **asked)


@pytest.fixture
def controller() -> Iterator[Controller]:
    controller = Controller()
    yield controller
    controller.close()


def test_a_volume_wants_what_its_classes_said(controller: Controller):
    record = controller.make({**OPEN, "warmReplicas": "2", "pin": "true"}, {"warmReplicas": "all"})
    assert record.wanted == record.spec.wants == Wants(ALL, pin=True)


def test_a_change_is_kept_and_moves_only_what_it_names(controller: Controller):
    record = controller.make({**OPEN, "pin": "true"})
    controller.modify(record.volume_id, {"warmReplicas": "2", "csi.storage.k8s.io/pvc/name": "qwen"})
    changed = controller.get(record.volume_id)
    assert changed.wanted == Wants(2, pin=True)
    assert (changed.context(), changed.spec) == (record.context(), record.spec)


def test_a_change_of_nothing_writes_nothing(controller: Controller):
    record = controller.make({**OPEN, "pin": "true"})
    controller.registry.modify = None
    controller.modify(record.volume_id, {})
    controller.modify(record.volume_id, {"pin": "true", "warmReplicas": "0"})


@pytest.mark.parametrize("mutable", [{"pin": "false", "x": "y"}, {"pin": "false", "warmReplicas": "many"}])
def test_a_change_is_made_whole_or_not_at_all(controller: Controller, mutable):
    record = controller.make({**OPEN, "pin": "true"})
    with pytest.raises(InvalidArgument):
        controller.modify(record.volume_id, mutable)
    assert controller.get(record.volume_id) == record


def test_what_a_secret_reads_cannot_be_brought_ahead_by_a_change(controller: Controller):
    record = controller.make({"source": "s3://models/qwen"})
    with pytest.raises(InvalidArgument, match=r"mutable_parameters\.warmReplicas: .*auth is secret"):
        controller.modify(record.volume_id, {"warmReplicas": "1"})
    controller.modify(record.volume_id, {"pin": "true"})
    assert controller.get(record.volume_id).wanted == Wants(pin=True)


@pytest.mark.parametrize("mutable", [{}, {"pin": "true"}])
def test_what_is_not_there_cannot_be_changed(controller: Controller, mutable):
    with pytest.raises(VolumeNotFound):
        controller.modify("fake-vol-id", mutable)


def test_the_same_call_finds_the_volume_that_was_changed_since(controller: Controller):
    made = controller.make(OPEN, {"warmReplicas": "2"})
    controller.modify(made.volume_id, {"warmReplicas": "5"})
    assert controller.make(OPEN, {"warmReplicas": "2"}).wanted == Wants(5)


def test_other_mutable_parameters_of_a_known_name_are_refused(controller: Controller):
    controller.make(OPEN, {"warmReplicas": "2"})
    for mutable in ({}, {"warmReplicas": "3"}):
        with pytest.raises(VolumeExists, match="warmReplicas is 2, not"):
            controller.make(OPEN, mutable)


@pytest.mark.parametrize("mutable", [{}, {"warmReplicas": "2"}, {"warmReplicas": "5"}, {"pin": "false"}])
def test_what_a_volume_was_made_with_and_what_it_wants_now_are_confirmed(controller: Controller, mutable):
    volume_id = controller.make(OPEN, {"warmReplicas": "2"}).volume_id
    controller.modify(volume_id, {"warmReplicas": "5"})
    parameters = OPEN if mutable.get("warmReplicas") else {**OPEN, "warmReplicas": "2"}
    assert controller.check(volume_id, parameters, mutable) == ""


@pytest.mark.parametrize(
    ("parameters", "mutable", "reason"),
    [
        ({}, {"warmReplicas": "3"}, "has warmReplicas: 2, warmNodeSelector: none, pin: false, not warmReplicas: 3,"),
        (OPEN, {"warmReplicas": "3"}, "not warmReplicas: 3"),
        ({**OPEN, "placement": "any"}, {"warmReplicas": "2"}, "other parameters"),
        ({}, {"warm": "3"}, "did you mean"),
        ({}, {"pin": "yes"}, "mutable_parameters.pin"),
    ],
)
def test_what_a_volume_does_not_want_is_not_confirmed(controller: Controller, parameters, mutable, reason: str):
    volume_id = controller.make({**OPEN, "warmReplicas": "2"}).volume_id
    assert reason in controller.check(volume_id, parameters, mutable)


def test_a_claims_annotation_names_the_model(controller: Controller):
    controller.annotations = {"model": "s3://models/qwen"}
    record = controller.make(ANNOTATED, name=f"pvc-{UID}")
    assert str(record.spec.source) == "s3://models/qwen"
    assert set(controller.asked) == {Claim("chat", "qwen", UID)}
    assert "allowedSources" not in record.context()


def test_the_volume_stays_what_it_is_when_the_annotation_changes(controller: Controller):
    controller.annotations = {"model": "s3://models/qwen"}
    record = controller.make(ANNOTATED)
    for annotations in ({"model": "s3://models/other"}, {}):
        controller.annotations = annotations
        assert controller.make(ANNOTATED) == record
    assert controller.check(record.volume_id, ANNOTATED) == ""


def test_a_claim_without_the_annotation_gets_its_volume_when_it_has_it(controller: Controller):
    with pytest.raises(ClaimIncomplete, match="no annotation model"):
        controller.make(ANNOTATED)
    controller.annotations = {"model": "s3://models/qwen"}
    assert controller.make(ANNOTATED).spec.from_claim


def test_what_the_class_allows_may_be_read_with_the_drivers_role(controller: Controller):
    assert controller.make({**OPEN, **METADATA, "source": "s3://models/${pvc.name}", "auth": "ambient",
                            "allowedSources": "s3://models/*"}).spec.from_claim  # fmt: skip
    with pytest.raises(InvalidArgument, match=r"parameters\.auth: .*allowedSources"):
        controller.make({**METADATA, "source": "s3://models/${pvc.name}", "auth": "ambient"}, name="pvc-2")


def test_a_call_that_does_not_tell_the_claim_says_what_to_switch_on(controller: Controller):
    with pytest.raises(InvalidArgument, match="--extra-create-metadata"):
        controller.make({key: value for key, value in ANNOTATED.items() if key not in METADATA})


@pytest.mark.parametrize("error", [ClaimIncomplete("the claim is gone"), StoreUnusable("the API is down")])
def test_a_claim_that_cannot_be_read_is_an_error_of_its_own(controller: Controller, error):
    controller.error = error
    with pytest.raises(type(error), match=str(error)):
        controller.make(ANNOTATED)
