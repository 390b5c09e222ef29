import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from csi_model.cli.app import csi_model
from csi_model.demo.kubelet import Volume
from tests.harness import Driver

Staged = tuple[Driver, Volume]


@pytest.fixture(params=["agent", "lock"])
def store(request: Any, staged: Staged) -> Path:
    """The store, with its agent running, or after its end."""
    if request.param == "lock":
        assert staged[0].stop() == 0
    return staged[0].store


def run(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(csi_model, [*arguments, "--store", str(store)])


def answer(store: Path, *arguments: str) -> Any:
    result = run(store, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def revision(store: Path, name: str) -> str:
    found = answer(store, "status")["revisions"]
    return next(item["manifest"] for item in found if item["source"].endswith(name))


def damage(store: Path, name: str) -> None:
    file = store / "trees" / revision(store, name) / "root/weights.bin"
    file.chmod(0o644)
    with file.open("r+b") as weights:
        weights.write(b"damage")


def test_status_in_json_says_who_answered_and_what_is_held(store: Path, request: Any) -> None:
    status = answer(store, "status")
    assert status["agent"] == ("agent" in request.node.name)
    assert [hold["volume_id"] for hold in status["holds"]] == sorted(
        {h for r in status["revisions"] for h in r["held_by"]}
    )
    assert {item["warmth"] for item in status["revisions"]} == {"staged"}


def test_status_for_people_names_sources_sizes_and_volumes(store: Path, staged: Staged) -> None:
    result = run(store, "status")
    for word in ("s3://models/one", "262 kB", "staged", "unused", staged[1].volume_id):
        assert word in result.stdout


def test_verify_finds_sound_models_sound(store: Path) -> None:
    result = run(store, "verify")
    assert (result.exit_code, result.stdout.count(": sound,")) == (0, 2)


def test_verify_says_what_is_damaged_and_exits_with_3(store: Path) -> None:
    damage(store, "/two")
    result = run(store, "verify")
    assert result.exit_code == 3
    assert "weights.bin: damaged in bytes 0-" in result.stdout


def test_verify_in_json_is_one_event_a_line(store: Path) -> None:
    damage(store, "/two")
    result = run(store, "verify", revision(store, "/two"), "--json")
    file, whole = (json.loads(line) for line in result.stdout.splitlines())
    assert (result.exit_code, file["event"], whole["event"]) == (3, "file", "revision")
    assert whole["damaged"] == [file["path"]]


def test_verify_of_a_revision_that_is_not_here_is_one_line(store: Path) -> None:
    result = run(store, "verify", "0123456789")
    assert result.exit_code == 1
    assert result.stderr == "csi-model: no staged revision begins with 0123456789: `csi-model status` lists them\n"


def test_evict_deletes_what_is_unused_and_keeps_what_is_held(store: Path, staged: Staged) -> None:
    unused, held = revision(store, "/two"), revision(store, "/one")
    result = answer(store, "evict", "unused", "--yes")
    assert result["evicted"] == [unused]
    assert result["kept"] == {held: f"held by {staged[1].volume_id}"}
    assert [item["manifest"] for item in answer(store, "status")["revisions"]] == [held]


def test_a_dry_run_deletes_nothing(store: Path) -> None:
    assert answer(store, "evict", "unused", "--dry-run")["evicted"] == [revision(store, "/two")]


def test_evicting_what_is_held_fails_and_says_who_holds_it(store: Path, staged: Staged) -> None:
    held = revision(store, "/one")
    result = run(store, "evict", held[:8], "--yes")
    assert result.exit_code == 1
    assert f"Kept {held[:12]}: held by {staged[1].volume_id}" in result.stdout


def test_evict_wants_a_yes_where_nobody_can_be_asked(store: Path) -> None:
    result = run(store, "evict", "unused")
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert len(answer(store, "status")["revisions"]) == 2


def test_too_few_digits_are_wrong_usage(store: Path) -> None:
    assert run(store, "evict", "ab", "--yes").exit_code == 2
