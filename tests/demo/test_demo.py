import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from csi_model.demo.s3server import S3Server
from csi_model.demo.s3server_auth import Key

SIZE = "24MB"
_PATIENCE = 120.0  # seconds until a demo that hangs fails


def start(tmp_path: Path, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "csi_model", "demo", "--size", SIZE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "LC_ALL": "C.UTF-8", **variables},
    )


def finish(demo: "subprocess.Popen[str]") -> tuple[int, str, str]:
    said, errors = demo.communicate(timeout=_PATIENCE)
    return demo.returncode, said, errors


def nothing_is_left(tmp_path: Path) -> bool:
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _readable(path)]
    mounts = Path("/proc/self/mountinfo").read_text()
    return not list(tmp_path.iterdir()) and str(tmp_path) not in mounts + repr(commands)


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:  # the process ended just now
        return False
    return True


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a whole demo says; nothing is left behind by it."""
    directory = tmp_path_factory.mktemp("demo")
    code, said, errors = finish(start(directory))
    assert code == 0, errors
    assert nothing_is_left(directory)
    return said


def row(told: str, name: str) -> dict[str, str]:
    line = next(line for line in told.splitlines() if line.startswith(name))
    cells = re.split(r"\s{2,}", line.strip())
    return dict(zip(("name", "waited", "of_cold", "fetched", "shared", "speed"), cells, strict=True))


def megabytes(text: str) -> float:
    number, unit = text.split()
    return float(number) * {"B": 1e-6, "kB": 1e-3, "MB": 1}[unit]


def test_a_cold_start_fetches_the_model(told: str) -> None:
    cold = row(told, "cold start")
    assert 20 < megabytes(cold["fetched"]) < 30
    assert cold["shared"] == "0 B"


@pytest.mark.parametrize("name", ["second pod", "second volume"])
def test_a_warm_start_fetches_nothing(told: str, name: str) -> None:
    assert row(told, name)["fetched"] == "0 B"
    assert row(told, name)["shared"] == row(told, "cold start")["fetched"]


def test_a_new_revision_fetches_the_changed_shard_only(told: str) -> None:
    cold, new = row(told, "cold start"), row(told, "new revision")
    whole = megabytes(cold["fetched"])
    assert 0 < megabytes(new["fetched"]) < whole / 3
    assert megabytes(new["fetched"]) + megabytes(new["shared"]) == pytest.approx(whole, rel=0.02)


def test_every_tensor_is_checked_at_every_step(told: str) -> None:
    assert len(re.findall(r"Read by mmap in another process: 8 files, .* all \d+ tensors as made", told)) == 4


def test_without_a_terminal_it_says_plain_lines(told: str) -> None:
    assert "\x1b" not in told
    assert "\r" not in told


@pytest.mark.parametrize(
    ("number", "code", "moment"),
    [
        (signal.SIGINT, 130, "Starting the driver"),
        (signal.SIGINT, 130, "2  A second"),
        (signal.SIGTERM, 143, "1  Cold"),
    ],
)
def test_a_signal_in_the_middle_leaves_nothing(tmp_path: Path, number: int, code: int, moment: str) -> None:
    demo = start(tmp_path)
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith(moment):
            break
    demo.send_signal(number)
    assert finish(demo)[0] == code
    assert nothing_is_left(tmp_path)


def test_keep_leaves_the_store_and_says_where(tmp_path: Path) -> None:
    code, said, _ = finish(start(tmp_path, "--keep"))
    (kept,) = tmp_path.iterdir()
    assert code == 0
    assert f"csi-model status --store {kept}/store" in said
    assert (kept / "store/VERSION").is_file()


def test_a_source_that_cant_be_reached_is_one_line(tmp_path: Path) -> None:
    demo = start(tmp_path, "--source", "s3://models/none", "--endpoint", "http://127.0.0.1:9")
    code, _, errors = finish(demo)
    assert code == 1
    assert errors.startswith("csi-model: CreateVolume: UNAVAILABLE: ")
    assert errors.count("\n") == 1
    assert nothing_is_left(tmp_path)


def test_a_model_of_ones_own_is_shown_with_ones_own_keys(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with S3Server(tmp_path_factory.mktemp("s3"), keys={"id": Key("word")}) as s3:
        s3.create_bucket("mine")
        s3.put("mine", "m/weights.bin", b"own" * 100_000)
        source = ("--source", "s3://mine/m", "--endpoint", s3.url, "--auth", "secret")
        code, said, errors = finish(start(tmp_path, *source, AWS_ACCESS_KEY_ID="id", AWS_SECRET_ACCESS_KEY="word"))
    assert code == 0, errors
    assert "Read by mmap in another process: 1 file, 300 kB" in said
    assert row(said, "second volume")["fetched"] == "0 B"
    assert "word" not in said + errors


def test_a_disk_that_is_too_small_is_told_first(tmp_path: Path) -> None:
    code, _, errors = finish(start(tmp_path, "--size", "1000TB"))
    assert code == 1
    assert "say a smaller --size, or set TMPDIR" in errors
    assert nothing_is_left(tmp_path)
