#!/usr/bin/env python3
"""Make .venv with this project installed, on a machine that has Python >= 3.11 and maybe nothing else.

Usage: python3 hack/bootstrap.py run|dev|bench|e2e

``run`` installs what the driver and the demo need, ``dev`` also what the tests need, ``bench`` what the benchmark
compares with, ``e2e`` what the tests in a cluster need. Needs no pip and no ensurepip: where Debian and Ubuntu left
them out, pip comes from the distribution's package of its wheel, without root if the package lists are there. Does
nothing when nothing has changed since the last time.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
EXTRAS = {
    "run": ["-e", ".[demo]"],
    "dev": ["-e", ".[demo]", "--group", "dev"],
    "bench": ["-e", ".[demo]", "--group", "bench"],
    "e2e": ["-e", ".[demo]", "--group", "e2e"],
}


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - an older one may well run this file
        sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: try PYTHON=python3.12 make …")
    wanted = sys.argv[1] if len(sys.argv) > 1 else "run"
    stamp = VENV / f"installed-{wanted}"
    state = fingerprint()
    if stamp.exists() and stamp.read_text() == state and PYTHON.exists():
        return
    if not PYTHON.exists() or subprocess.call([PYTHON, "-m", "pip", "--version"], stdout=subprocess.DEVNULL) != 0:
        make_venv()
    say("installing the project and its dependencies into .venv (a minute or two the first time)")
    pip("install", "--quiet", "--upgrade", "pip>=25.1")  # --group came with 25.1
    pip("install", "--quiet", *EXTRAS[wanted])
    stamp.write_text(state)


def fingerprint() -> str:
    """Hash what decides about the installation: the metadata, the build hook and the wire interfaces."""
    files = [ROOT / "pyproject.toml", ROOT / "hatch_build.py", *sorted((ROOT / "csi-spec").glob("*.proto"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def make_venv() -> None:
    say("making .venv")
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        import ensurepip  # noqa: F401, PLC0415 - is it there?
        import venv  # noqa: PLC0415

        venv.create(VENV, with_pip=True, symlinks=True)
    except ImportError:
        if subprocess.call([sys.executable, "-m", "venv", "--without-pip", VENV]) != 0:
            sys.exit("this Python has no venv module: install all of python3 (Debian: apt-get install python3)")
        install_pip()


def install_pip() -> None:
    """Install pip into .venv although Python came without ensurepip."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = system_pip() or debian_wheel(Path(folder))
        if wheel is None:
            sys.exit(
                "neither ensurepip nor pip is here, and apt-get gave no python3-pip-whl: "
                "install pip (Debian, Ubuntu: apt-get install python3-venv) and run this again"
            )
        subprocess.check_call([PYTHON, wheel, "install", "--quiet", "pip"])


def system_pip() -> str | None:
    """Return the directory of a pip that belongs to another Python here, runnable as a script."""
    try:
        import pip  # noqa: PLC0415
    except ImportError:
        return None
    return str(Path(pip.__file__).parent)


def debian_wheel(folder: Path) -> str | None:
    """Fetch the distribution's package of pip's wheel and unpack it; no root needed but for missing package lists."""
    apt = shutil.which("apt-get")
    if apt is None:
        return None
    say("this Python came without pip: taking it from the package python3-pip-whl")
    command = [apt, "download", "-qq", "python3-pip-whl"]
    quiet = {"cwd": folder, "stderr": subprocess.DEVNULL}
    if subprocess.call(command, **quiet) != 0:
        subprocess.call([apt, "update", "-qq"])
        subprocess.call(command, cwd=folder)
    for package in folder.glob("python3-pip-whl*.deb"):
        subprocess.check_call(["dpkg-deb", "-x", package, folder / "unpacked"])
    wheels = sorted((folder / "unpacked").rglob("pip-*.whl"))
    return f"{wheels[0]}/pip" if wheels else None


def pip(*arguments: str) -> None:
    result = subprocess.run([PYTHON, "-m", "pip", *arguments], cwd=ROOT, check=False)
    if result.returncode != 0:
        sys.exit("pip failed, see above: is the package index reachable (PIP_INDEX_URL, HTTPS_PROXY)?")


def say(text: str) -> None:
    print(f"bootstrap: {text}", flush=True)


if __name__ == "__main__":
    main()
