"""csi-spec/*.proto against the official files, which come as Go modules."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc_tools
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.message import Message
from grpc_tools import protoc

from csi_model.rpc.generated import (
    csi_pb2,
    pluginregistration_pb2,
)  # registers the options that descriptors are read with
from hack import fetching

ROOT = Path(__file__).parent.parent
OWN = ROOT / "csi-spec"
KUBELET = "k8s.io/kubelet@v0.36.3"
File = descriptor_pb2.FileDescriptorProto
Facts = dict[str, Any]


GENERATED = {"csi": csi_pb2, "pluginregistration": pluginregistration_pb2}


def official_file(name: str) -> Path:
    if name == "pluginregistration":
        return Path(fetching.downloaded(KUBELET)["Dir"]) / "pkg" / "apis" / name / "v1" / "api.proto"
    command = [sys.executable, ROOT / "hack" / "csi_sanity.py", "--proto"]
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


@pytest.fixture(scope="module", params=GENERATED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def official(name: str, tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return facts(compiled(official_file(name), tmp_path_factory.mktemp("official")))


@pytest.fixture(scope="module")
def own(name: str, tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return facts(compiled(OWN / f"{name}.proto", tmp_path_factory.mktemp("own")))


def compiled(proto: Path, out: Path) -> File:
    include = Path(grpc_tools.__file__).parent / "_proto"
    target = out / "proto.bin"
    command = ["protoc", f"-I{proto.parent}", f"-I{include}", f"--descriptor_set_out={target}", proto.name]
    assert protoc.main(command) == 0
    return descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file[0]


def facts(file: File) -> Facts:
    """Say all that the wire depends on, one fact per declared thing."""
    found: Facts = {"package": (file.package, file.syntax)}
    found |= {f"extension {e.name}": field_fact(e, ()) for e in file.extension}
    for message in file.message_type:
        found |= dict(message_facts(message, message.name))
    for enum in file.enum_type:
        found |= dict(enum_facts(enum, enum.name))
    for service in file.service:
        found[f"service {service.name}"] = options(service.options)
        for m in service.method:
            streams = (m.client_streaming, m.server_streaming)
            found[f"{service.name}/{m.name}"] = (m.input_type, m.output_type, streams, options(m.options))
    return found


def message_facts(message: descriptor_pb2.DescriptorProto, name: str) -> Iterator[tuple[str, Any]]:
    yield f"message {name}", options(message.options)
    oneofs = tuple(oneof.name for oneof in message.oneof_decl)
    yield from ((f"{name}.{f.name}", field_fact(f, oneofs)) for f in message.field)
    for nested in message.nested_type:
        yield from message_facts(nested, f"{name}.{nested.name}")
    for enum in message.enum_type:
        yield from enum_facts(enum, f"{name}.{enum.name}")


def enum_facts(enum: descriptor_pb2.EnumDescriptorProto, name: str) -> Iterator[tuple[str, Any]]:
    yield f"enum {name}", options(enum.options)
    yield from ((f"{name}.{value.name}", (value.number, options(value.options))) for value in enum.value)


def field_fact(field: descriptor_pb2.FieldDescriptorProto, oneofs: tuple[str, ...]) -> tuple[Any, ...]:
    oneof = oneofs[field.oneof_index] if field.HasField("oneof_index") else ""
    kind = (field.number, field.type, field.type_name, field.label, field.extendee)
    return (*kind, oneof, field.proto3_optional, options(field.options))


def options(message: Message) -> list[tuple[str, Any]]:
    return sorted((field.full_name, value) for field, value in message.ListFields())


def test_it_declares_what_the_official_file_declares(own: Facts, official: Facts) -> None:
    assert sorted(own) == sorted(official)


def test_every_declaration_is_the_official_one(own: Facts, official: Facts) -> None:
    assert {name: fact for name, fact in own.items() if fact != official.get(name)} == {}


def test_the_options_are_read(tmp_path: Path) -> None:
    own = facts(compiled(OWN / "csi.proto", tmp_path))
    assert own["NodeStageVolumeRequest.secrets"][-1] == [("csi.v1.csi_secret", True)]


def test_the_generated_code_is_made_from_this_file(name: str, own: Facts) -> None:
    generated = File.FromString(GENERATED[name].DESCRIPTOR.serialized_pb)
    assert facts(generated) == own, "run python hatch_build.py"
