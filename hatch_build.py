"""Build hook: generate the gRPC code from csi-spec/ into csi_model/rpc/generated/ (never committed, never edited)."""

from importlib.metadata import requires
from pathlib import Path
from typing import Any

from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "csi_model/rpc/generated"


def generate(root: Path) -> None:
    """Compile every csi-spec/*.proto into the package.

    The ``-I PACKAGE=csi-spec`` mapping makes the generated imports absolute, so that nothing needs post-editing.

    Raises:
        RuntimeError: protoc refused a file; its own message is on standard error.

    """
    target = root / PACKAGE
    target.mkdir(parents=True, exist_ok=True)
    (target / "__init__.py").write_text('"""Generated from csi-spec/: do not edit."""\n')
    protos = [f"{PACKAGE}/{path.name}" for path in sorted((root / "csi-spec").glob("*.proto"))]
    include = [f"-I{PACKAGE}={root / 'csi-spec'}", f"-I{Path(protoc.__file__).parent / '_proto'}"]
    out = [f"--python_out={root}", f"--grpc_python_out={root}", f"--pyi_out={root}"]
    if protoc.main(["protoc", *include, *out, *protos]) != 0:
        raise RuntimeError("protoc failed on csi-spec/")


class CustomBuildHook(BuildHookInterface[Any]):
    """Runs before the files of a wheel (also an editable one) are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the hook's signature
        """Generate, and demand a runtime that is no older than the generator: generated code refuses an older one."""
        generate(Path(self.root))
        floors = [need for need in requires("grpcio-tools") or () if need.startswith(("grpcio>", "protobuf"))]
        build_data["dependencies"].extend(floors)


if __name__ == "__main__":
    generate(Path(__file__).parent)
