from pathlib import Path
from typing import Any

import pytest

from csi_model.demo.kubelet import UNCERTAIN, Kubelet, Volume
from csi_model.rpc.client import Refused


class Answers:
    """A driver that answers with the given codes, then with success; remembers what it was asked."""

    def __init__(self, *codes: str) -> None:
        self.codes = list(codes)
        self.calls: list[tuple[str, float, dict[str, Any]]] = []

    def call(self, method: str, /, *, timeout: float, **fields: Any) -> Any:
        self.calls.append((method, timeout, fields))
        if self.codes:
            raise Refused(method, self.codes.pop(0), "why")


VOLUME = Volume("m-1", 10, {"schema": "1"}, {"key": "hidden"})


def stage(tmp_path: Path, *codes: str, **how: Any) -> tuple[Answers, list[float]]:
    driver, pauses = Answers(*codes), []
    Kubelet(driver, tmp_path, pause=pauses.append, **how).stage(VOLUME)  # type: ignore[arg-type]
    return driver, pauses


def test_node_calls_have_two_minutes(tmp_path: Path) -> None:
    driver, pauses = stage(tmp_path)
    assert [(method, timeout) for method, timeout, _ in driver.calls] == [("NodeStageVolume", 120.0)]
    assert pauses == []


def test_the_pause_doubles_from_half_a_second_to_two_minutes(tmp_path: Path) -> None:
    _, pauses = stage(tmp_path, *["ABORTED"] * 10)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 64, 122, 122]


@pytest.mark.parametrize("code", sorted(UNCERTAIN))
def test_a_call_is_repeated_after(code: str, tmp_path: Path) -> None:
    driver, _ = stage(tmp_path, code)
    assert len(driver.calls) == 2
    assert driver.calls[0] == driver.calls[1]


def test_a_final_error_is_raised(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="NOT_FOUND"):
        stage(tmp_path, "NOT_FOUND")


def test_refusals_are_told(tmp_path: Path) -> None:
    told: list[Refused] = []
    stage(tmp_path, "ABORTED", on_refusal=told.append)
    assert [refusal.text for refusal in told] == ["why"]


def test_the_staging_path_is_there_when_the_call_comes_and_gone_after_unstage(tmp_path: Path) -> None:
    driver = Answers()
    kubelet = Kubelet(driver, tmp_path)  # type: ignore[arg-type]
    assert kubelet.stage(VOLUME).is_dir()
    kubelet.unstage(VOLUME)
    assert not kubelet.staging_path(VOLUME).exists()


def test_publish_makes_the_directory_above_the_target_and_not_the_target(tmp_path: Path) -> None:
    target = Kubelet(Answers(), tmp_path).publish(VOLUME, "pod-1")  # type: ignore[arg-type]
    assert target.parent.is_dir()
    assert not target.exists()


def test_secrets_stay_out_of_the_repr() -> None:
    assert "hidden" not in repr(VOLUME)
