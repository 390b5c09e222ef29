import signal
from pathlib import Path

import pytest

from csi_model.demo.children import ChildFailed, child, held_back, output_of, read_in_pod


def test_a_signal_waits_until_the_block_has_ended() -> None:
    reached: list[str] = []

    def block() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            reached.append("its end")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert reached == ["its end"]


def test_without_a_signal_the_handlers_are_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with held_back():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_child_ends_with_its_block(tmp_path: Path) -> None:
    with child("csi_model.demo.s3server", "--dir", tmp_path / "s3", log=tmp_path / "log") as server:
        assert output_of(server).readline().startswith("http://127.0.0.1:")
        assert server.poll() is None
    assert server.returncode == 0


def test_what_a_pod_cant_read_is_told_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/weights.safetensors").write_bytes(b"no header")
    with pytest.raises(ChildFailed, match=r"weights\.safetensors is not a sound safetensors file"):
        read_in_pod(tmp_path / "m", None, log=tmp_path / "log")
