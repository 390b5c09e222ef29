"""The whole test run lives in a mount namespace of its own, so that tests can mount and leave nothing behind."""

import hypothesis
import pytest

from csi_model.errors import MountFailed
from csi_model.node import namespace
from csi_model.node.linux_mounts import LinuxMounts

_REFUSED = pytest.StashKey[str]()
# Everybody's own run tries new examples each time; CI judges a change by the same ones (--hypothesis-profile=ci)
hypothesis.settings.register_profile("ci", derandomize=True)


def pytest_configure(config: pytest.Config) -> None:
    """Enter it before any thread starts: later the kernel refuses."""
    try:
        namespace.enter()
    except MountFailed as error:
        config.stash[_REFUSED] = str(error)


@pytest.fixture
def mounts(pytestconfig: pytest.Config) -> LinuxMounts:
    """Real mounts. Where they can't be had the test fails and says why: a skip would hide that nothing was proven."""
    if _REFUSED in pytestconfig.stash:
        pytest.fail(pytestconfig.stash[_REFUSED], pytrace=False)
    return LinuxMounts()
