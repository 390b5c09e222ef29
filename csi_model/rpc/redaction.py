"""Keeps secrets out of logs and answers: by the proto option ``csi_secret``, never by a field's name."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from csi_model.rpc.generated import csi_pb2

_SECRET: Any = csi_pb2.csi_secret  # the generated stub takes an extension for a plain field
STRIPPED = "***stripped***"
_SHORTEST = 4
"""Characters: a shorter value is no secret, and taking it out of a text would spoil the text ("1", "no")."""


def redacted(message: Message) -> Message:
    """Return a copy of a message in which every secret is stripped; the keys of a map of secrets stay."""
    copy = type(message)()
    copy.CopyFrom(message)
    for owner, field in list(_secrets(copy)):
        _strip(owner, field)
    return copy


def scrub(text: str, message: object) -> str:
    """Take every secret that a request carries out of a text (an error's message, a traceback)."""
    if not isinstance(message, Message):
        return text
    for value in sorted(set(_values(message)), key=len, reverse=True):
        if len(value) >= _SHORTEST:
            text = text.replace(value, STRIPPED)
    return text


def _secrets(message: Message) -> Iterator[tuple[Message, FieldDescriptor]]:
    """Yield the secret fields that are set, at any depth, each with the message that has it."""
    for field, value in message.ListFields():
        if field.GetOptions().Extensions[_SECRET]:
            yield message, field
        elif field.message_type is not None:
            for inner in _inner(field, value):
                yield from _secrets(inner)


def _inner(field: FieldDescriptor, value: Any) -> Iterator[Message]:
    if isinstance(value, Message):
        yield value
        return
    for item in value.values() if _is_map(field) else value:
        if isinstance(item, Message):
            yield item


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _strip(owner: Message, field: FieldDescriptor) -> None:
    value = getattr(owner, field.name)
    if isinstance(value, str):
        setattr(owner, field.name, STRIPPED)
    elif _is_map(field) and all(isinstance(item, str) for item in value.values()):
        for key in list(value):  # a map that is written to while it is gone through leaves some out
            value[key] = STRIPPED
    else:
        owner.ClearField(field.name)


def _values(message: Message) -> Iterator[str]:
    for owner, field in _secrets(message):
        value = getattr(owner, field.name)
        if isinstance(value, str):
            yield value
        elif field.is_repeated:
            yield from (item for item in (value.values() if _is_map(field) else value) if isinstance(item, str))
