"""What is fetched is whole, or not there."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hack import fetching
from hack.fetching import NotFetched, kept

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fetching, "CACHE", tmp_path)
    return tmp_path


def program(folder: Path) -> None:
    (folder / "program").write_text("whole")


def refuse(folder: Path) -> None:
    raise AssertionError("made again")


def test_a_thing_is_made_once(cache):
    kept("thing-1", "program", program)
    assert (kept("thing-1", "program", refuse) / "program").read_text() == "whole"


def test_a_folder_that_lacks_the_program_is_made_anew(cache):
    (cache / "thing-1").mkdir()
    (cache / "thing-1" / "rubbish").touch()
    folder = kept("thing-1", "program", program)
    assert [path.name for path in folder.iterdir()] == ["program"]


def test_a_failure_says_what_couldnt_be_had_and_leaves_nothing(cache):
    def fail(folder: Path) -> None:
        program(folder)
        raise OSError("disk full")

    with pytest.raises(NotFetched, match=r"thing-1.*disk full"):
        kept("thing-1", "program", fail)
    assert [path.name for path in cache.iterdir()] == ["thing-1.lock"]


def test_what_a_killed_process_left_is_never_taken_for_whole_and_goes(cache):
    script = f"""
import sys, signal
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from hack import fetching
fetching.CACHE = Path({str(cache)!r})
def make(folder):
    (folder / "program").write_text("half")
    print("half", flush=True)
    signal.pause()
fetching.kept("thing-1", "program", make)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "half\n"
        child.send_signal(signal.SIGKILL)
    assert not (cache / "thing-1").exists()
    assert (kept("thing-1", "program", program) / "program").read_text() == "whole"
    assert sorted(path.name for path in cache.iterdir()) == ["thing-1", "thing-1.lock"]
