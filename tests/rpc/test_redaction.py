from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from csi_model.rpc.generated import csi_pb2
from csi_model.rpc.redaction import STRIPPED, redacted, scrub


def secret_fields() -> Iterator[tuple[Descriptor, FieldDescriptor]]:
    for descriptor in csi_pb2.DESCRIPTOR.message_types_by_name.values():
        for field in descriptor.fields:
            if field.GetOptions().Extensions[csi_pb2.csi_secret]:
                yield descriptor, field


@pytest.mark.parametrize(("descriptor", "field"), list(secret_fields()), ids=lambda item: item.name)
def test_every_secret_of_the_protocol_is_stripped(descriptor: Descriptor, field: FieldDescriptor) -> None:
    message = message_factory.GetMessageClass(descriptor)(**{field.name: {"key": "hunter2"}})
    assert "hunter2" not in str(redacted(message))
    assert dict(getattr(redacted(message), field.name)) == {"key": STRIPPED}
    assert scrub("it was hunter2", message) == f"it was {STRIPPED}"
    assert getattr(message, field.name)["key"] == "hunter2", "the request itself is untouched"


def test_the_protocol_has_secrets() -> None:
    assert len(list(secret_fields())) == 19


def test_what_is_not_a_secret_stays() -> None:
    message = csi_pb2.CreateVolumeRequest(name="pvc-1", parameters={"secret_password": "not a secret by its name"})
    assert redacted(message) == message


def wrapper_class() -> type[Any]:
    """A message with secrets of every shape, at every depth."""
    file = descriptor_pb2.FileDescriptorProto(
        name="wrapper.proto", package="wrapper", syntax="proto3", dependency=[csi_pb2.DESCRIPTOR.name]
    )
    message = file.message_type.add(name="Wrapper")
    entry = message.nested_type.add(name="ByNameEntry", options={"map_entry": True})
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, label=1, type_name=".csi.v1.DeleteVolumeRequest")
    message.field.add(name="one", number=1, type=11, label=1, type_name=".csi.v1.DeleteVolumeRequest")
    message.field.add(name="many", number=2, type=11, label=3, type_name=".csi.v1.DeleteVolumeRequest")
    message.field.add(name="by_name", number=3, type=11, label=3, type_name=".wrapper.Wrapper.ByNameEntry")
    for name, number, kind in (("password", 4, 9), ("blob", 5, 12), ("pin", 6, 5)):
        message.field.add(name=name, number=number, type=kind, label=1).options.Extensions[csi_pb2.csi_secret] = True
    message.field.add(name="passwords", number=7, type=9, label=3).options.Extensions[csi_pb2.csi_secret] = True
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("wrapper.Wrapper"))


WRAPPER = wrapper_class()


@pytest.mark.parametrize(
    "fields",
    [
        {"one": {"secrets": {"a": "hunter2"}}},
        {"many": [{"volume_id": "m"}, {"secrets": {"a": "hunter2"}}]},
        {"by_name": {"x": csi_pb2.DeleteVolumeRequest(secrets={"a": "hunter2"})}},
        {"password": "hunter2"},
        {"passwords": ["hunter2"]},
        {"blob": b"hunter2"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_secrets_of_any_shape_at_any_depth_are_stripped(fields: dict[str, Any]) -> None:
    message = WRAPPER(**fields)
    assert "hunter2" not in str(redacted(message))


def test_secrets_at_any_depth_are_scrubbed_from_a_text() -> None:
    message = WRAPPER(many=[{"secrets": {"a": "hunter2"}}], password="swordfish", passwords=["opensesame"])
    assert scrub("hunter2 swordfish opensesame", message) == " ".join([STRIPPED] * 3)


def test_a_secret_number_is_cleared() -> None:
    assert redacted(WRAPPER(pin=4711)) == WRAPPER()


def test_a_secret_that_begins_another_leaves_no_tail() -> None:
    message = csi_pb2.DeleteVolumeRequest(secrets={"a": "hunter2", "b": "hunter2-tail"})
    assert scrub("hunter2-tail", message) == STRIPPED


def test_a_text_is_not_spoilt_by_values_too_short_for_secrets() -> None:
    assert scrub("10 of 16 GB", csi_pb2.DeleteVolumeRequest(secrets={"a": "1", "b": ""})) == "10 of 16 GB"


def test_a_request_that_is_no_message_has_no_secrets() -> None:
    assert scrub("text", {"secrets": "text"}) == "text"


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 17, 40])
def test_of_many_secrets_not_one_is_left(count: int) -> None:
    for attempt in range(50):  # where a map begins depends on its keys
        secrets = {f"key-{attempt}-{number}": f"hunter-{number}" for number in range(count)}
        assert "hunter" not in str(redacted(csi_pb2.NodeStageVolumeRequest(secrets=secrets)))
