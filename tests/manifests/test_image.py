"""What the image is built from."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.manifests.reading import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {
    "requirements.lock": PROJECT["project"]["dependencies"],
    "requirements-build.lock": PROJECT["build-system"]["requires"],
}


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_that_the_project_needs_is_pinned(lock):
    pins = {name: rest.split()[0] for name, rest in pinned(lock)}
    for need in map(Requirement, LOCKS[lock]):
        assert need.specifier.contains(pins[canonicalize_name(need.name)]), f"{need}: run `make lock`"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes(lock):
    assert all("--hash=sha256:" in rest for _, rest in pinned(lock))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index(lock):
    assert "://" not in (ROOT / lock).read_text()


def test_what_generates_the_code_is_no_newer_than_what_runs_it():
    run, build = ({name: rest.split()[0] for name, rest in pinned(lock)} for lock in LOCKS)
    assert run["grpcio"] == build["grpcio-tools"] == build["grpcio"]
    assert run["protobuf"] == build["protobuf"]


def test_it_runs_as_nobody_unless_told_otherwise():
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["65532:65532"]


def test_it_installs_nothing_without_a_hash():
    installs = re.findall(r"pip .*?install ([^\n]*)", DOCKERFILE)
    assert installs
    assert all("--require-hashes" in it or "--no-index" in it for it in installs)


def pinned(lock: str) -> list[tuple[str, str]]:
    """Return the pins of a lock file: the name, and the version with what follows."""
    entries = re.split(r"\n(?=[a-z])", (ROOT / lock).read_text())
    return [(name, rest) for name, _, rest in (entry.partition("==") for entry in entries) if rest]
