"""Registration with a kubelet: a fake one, over real sockets, with a connection for each call."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from csi_model.rpc.health import probe
from csi_model.rpc.registration import SOCKET, Registration
from csi_model.rpc.sockets import listens
from tests.fakes.kubelet_plugins import KubeletPlugins
from tests.rpc.conftest import Driver

NAME = "csi-model.io"


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    (tmp_path / "plugins_registry").mkdir()
    return tmp_path / "plugins_registry"


@pytest.fixture
def registering(driver: Driver, plugins: Path) -> Iterator[Any]:
    """Starts registrations of the driver; they are closed at the end."""
    made: list[Registration] = []

    def register(endpoint: Path = driver.socket, directory: Path = plugins) -> Registration:
        answers = partial(probe, f"unix://{endpoint}", timeout=0.5)
        made.append(Registration(directory, endpoint, answers, glance=0.02, pause=0.02))
        made[-1].start()
        return made[-1]

    yield register
    for registration in made:
        registration.close()


def known(kubelet: KubeletPlugins) -> bool:
    return kubelet.drivers == {NAME: "node-1"}


def test_kubelet_learns_name_version_and_the_csi_sockets_path(registering: Any, plugins: Path, driver: Driver) -> None:
    registration = registering()
    with KubeletPlugins(plugins) as kubelet:
        kubelet.wait_until(known)
    (info,) = kubelet.infos
    assert (info.type, info.name, info.endpoint) == ("CSIPlugin", NAME, str(driver.socket))
    assert info.supported_versions == ["1.0.0"]
    assert registration.problem() is None
    assert registration.figures() == {"csi_model_registered": 1.0}


def test_a_kubelet_that_starts_anew_registers_it_again(registering: Any, plugins: Path) -> None:
    registering()
    for _ in range(2):
        with KubeletPlugins(plugins) as kubelet:
            kubelet.wait_until(known)


def test_before_kubelet_asked_it_says_so(registering: Any, plugins: Path) -> None:
    registration = registering()
    while not (plugins / SOCKET).exists():
        pass
    assert "kubelet hasn't asked yet" in registration.unready()
    assert registration.figures() == {"csi_model_registered": 0.0}


def test_after_a_refusal_the_socket_is_made_anew(registering: Any, plugins: Path) -> None:
    registration = registering()
    with KubeletPlugins(plugins) as kubelet:
        kubelet.refusals += ["label collision", "label collision"]
        kubelet.wait_until(known)
        assert len(kubelet.infos) == 3
    assert registration.problem() is None


def test_a_refusal_is_told_in_kubelets_words(registering: Any, plugins: Path) -> None:
    registration = registering()
    registration.told(registered=False, error="detected topology value collision")
    assert registration.unready() == "not registered with kubelet: kubelet said: detected topology value collision"


def test_kubelets_own_second_try_is_enough(driver: Driver, plugins: Path) -> None:
    registration = Registration(plugins, driver.socket, lambda: None, glance=0.02, pause=1000)
    registration.start()
    try:
        with KubeletPlugins(plugins) as kubelet:
            kubelet.wait_until(known)
            first = (plugins / SOCKET).stat().st_ino
            registration.told(registered=False, error="the API is down")
            while not registration._failures:  # until it has begun to wait
                pass
            registration.told(registered=True, error="")
            assert registration.problem() is None
            assert (plugins / SOCKET).stat().st_ino == first
            (plugins / SOCKET).unlink()
            kubelet.wait_until(lambda k: known(k) and len(k.infos) == 2)  # it watches again
    finally:
        registration.close()


def test_a_socket_that_vanishes_is_made_anew(registering: Any, plugins: Path) -> None:
    registering()
    with KubeletPlugins(plugins) as kubelet:
        kubelet.wait_until(known)
        (plugins / SOCKET).unlink()
        kubelet.wait_until(lambda k: known(k) and len(k.infos) == 2)


def test_a_stale_socket_of_an_earlier_life_is_replaced(registering: Any, plugins: Path, tmp_path: Path) -> None:
    first = registering()
    while not (plugins / SOCKET).exists():
        pass
    os.link(plugins / SOCKET, tmp_path / "kept")
    first.close()
    os.link(tmp_path / "kept", plugins / SOCKET)  # what kill -9 leaves behind
    with KubeletPlugins(plugins) as kubelet:
        registering()
        kubelet.wait_until(known)


def test_at_the_end_the_socket_goes_and_kubelet_forgets(registering: Any, plugins: Path) -> None:
    registration = registering()
    with KubeletPlugins(plugins) as kubelet:
        kubelet.wait_until(known)
        registration.close()
        assert list(plugins.iterdir()) == []
        kubelet.wait_until(lambda k: not k.drivers)


def test_it_begins_only_when_the_driver_answers(registering: Any, plugins: Path, tmp_path: Path) -> None:
    late = tmp_path / "late.sock"
    registration = registering(endpoint=late)
    while "Probe" not in (registration.problem() or ""):  # until it has asked in vain
        pass
    assert list(plugins.iterdir()) == []
    driver = Driver(late)
    try:
        with KubeletPlugins(plugins) as kubelet:
            kubelet.wait_until(known)
    finally:
        driver.close()


def test_a_directory_that_comes_later_is_used(registering: Any, tmp_path: Path) -> None:
    later = tmp_path / "later"
    registration = registering(directory=later)
    while "is not a directory" not in (registration.problem() or ""):
        pass
    later.mkdir()
    with KubeletPlugins(later) as kubelet:
        kubelet.wait_until(known)


def test_another_drivers_socket_is_left_alone(registering: Any, plugins: Path) -> None:
    first = registering()
    while not (plugins / SOCKET).exists() or not listens(plugins / SOCKET):
        pass
    inode = (plugins / SOCKET).stat().st_ino
    second = registering()
    while "another process listens" not in (second.problem() or ""):
        pass
    assert (plugins / SOCKET).stat().st_ino == inode
    assert first.problem() is not None
    first.close()
    while not (plugins / SOCKET).exists():  # its turn
        pass
