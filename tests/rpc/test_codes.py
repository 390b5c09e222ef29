import inspect
from pathlib import Path

import grpc
import pytest

from csi_model import errors
from csi_model.rpc import codes

GROUPS = errors.CsiModelError.__subclasses__()
CONCRETE = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.CsiModelError) and kind not in (errors.CsiModelError, *GROUPS)
]


def test_every_error_has_exactly_one_row() -> None:
    assert sorted(row.error.__name__ for row in codes.TABLE) == sorted(kind.__name__ for kind in CONCRETE)


def test_groups_of_errors_have_no_row() -> None:
    assert codes.row_of(errors.NodeError("x")) is None


def test_a_type_of_another_module_has_its_parents_row() -> None:
    class Slow(errors.SourceBusy):
        pass

    row = codes.row_of(Slow("x"))
    assert row is not None
    assert row.error is errors.SourceBusy


@pytest.mark.parametrize("kind", [kind for kind in CONCRETE if issubclass(kind, errors.TryAgain)])
def test_try_again_never_looks_final_to_kubelet(kind: type[errors.CsiModelError]) -> None:
    row = codes.row_of(kind("x"))
    assert row is not None
    assert row.code in codes.UNCERTAIN


def test_nothing_is_unknown() -> None:
    assert grpc.StatusCode.UNKNOWN not in {row.code for row in codes.TABLE}


def test_an_unsupported_capability_is_a_failed_precondition_on_the_node() -> None:
    row = codes.row_of(errors.UnsupportedCapability("x"))
    assert row is not None
    assert codes.code_of(row, "CreateVolume") is grpc.StatusCode.INVALID_ARGUMENT
    assert codes.code_of(row, "NodeStageVolume") is grpc.StatusCode.FAILED_PRECONDITION


def test_the_documentation_is_rendered_from_the_table() -> None:
    written = Path(__file__).parents[2] / "docs" / "errors.md"
    assert written.read_text() == codes.render(), "run python -m csi_model.rpc.codes > docs/errors.md"


@pytest.mark.parametrize("kind", CONCRETE)
def test_what_kubelet_takes_for_final_is_what_the_node_releases_its_hold_for(kind: type[errors.CsiModelError]) -> None:
    row = next(row for row in codes.TABLE if row.error is kind)
    assert kind.transient == (row.code in codes.UNCERTAIN)
