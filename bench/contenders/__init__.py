"""Contenders: programs that bring the files of a job onto this disk, each in the way of one tool.

``python -m bench.contenders.<name> JOB.json`` gets ready, prints ``ready``, waits for a line on standard input,
downloads, makes it durable, and prints one line of JSON (see :class:`Outcome`); exit code 1 means that it failed, and
standard error says why.

A contender is a generator: up to its first ``yield`` it gets ready, which isn't timed; up to its second it downloads,
and that one gives a :class:`Verdict`; what follows tidies up.
"""

import importlib.util
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_FSYNCS = 16  # at once: file systems commit what many ask for together


@dataclass(frozen=True, slots=True)
class File:
    """One file of a job: where it goes below ``dest``, its bytes, and a URL that needs no further credentials."""

    path: str
    size: int
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Job:
    """What to download.

    Attributes:
        endpoint: URL of the S3 service; empty for files that only have URLs.
        ca: PEM file of the authority to trust, or None.
        bucket, prefix, access_key, secret_key: where the files lie in S3, and whose rights read them.
        files: all of them.
        dest: an empty directory.
        streams: connections that a tool may have at once, unless another number suits it better.
        durable: whether to wait until everything is on the disk; without, as people use these tools.

    """

    endpoint: str
    ca: str | None
    bucket: str
    prefix: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    files: tuple[File, ...]
    dest: Path
    streams: int = 8
    durable: bool = True

    @classmethod
    def read(cls, path: Path) -> "Job":
        """Read a job's JSON from a file."""
        return cls.of(json.loads(path.read_text()))

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Job":
        """Make a job of its JSON."""
        files = tuple(File(**file) for file in fields["files"])
        return cls(**{**fields, "files": files, "dest": Path(fields["dest"])})

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def base(self) -> str:
        """The URL below which all files lie under their paths; for files that only have URLs."""
        first = self.files[0]
        return first.url.removesuffix(first.path)

    def key(self, file: File) -> str:
        """Return a file's key in the bucket."""
        return f"{self.prefix}/{file.path}"

    def localhost(self) -> str:
        """Return the endpoint by name: some clients refuse an IP address."""
        return self.endpoint.replace("//127.0.0.1:", "//localhost:")

    def place(self, file: File) -> Path:
        """Return where a file goes; its directory is made."""
        path = self.dest / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a contender says of its own download.

    Attributes:
        note: the settings it used.
        verified: which sums it checked on the way, ``none`` for a tool that checks nothing.
        durable: whether the files are on the disk, whatever happens next.
        cpu_seconds: if another process did the work, what that used; else it's measured here.
        peak_rss_mib: likewise.
        root: the directory in which the files lie, if it isn't ``dest``.

    """

    note: str
    verified: str = "none"
    durable: bool = True
    cpu_seconds: float | None = None
    peak_rss_mib: float | None = None
    root: Path | None = None


Contender = Callable[[Job], Iterator[Verdict | None]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a contender's last line says: seconds from the line on standard input on, and the rest from its Verdict."""

    seconds: float
    cpu_seconds: float
    peak_rss_mib: float
    durable: bool
    verified: str
    note: str


def run(contend: Contender) -> None:
    """Run a contender as a program."""
    for name in list(os.environ):
        # Neither proxies nor somebody's own cloud account have a say in this.
        if name.lower().endswith("_proxy") or name.startswith(("AWS_", "RCLONE_", "CSIMODEL_")):
            del os.environ[name]
    job = Job.read(Path(sys.argv[1]))
    steps = contend(job)
    next(steps)
    print("ready", flush=True)
    sys.stdin.readline()
    began, cpu = time.monotonic(), cpu_seconds()
    verdict = next(steps)
    seconds, cpu = time.monotonic() - began, cpu_seconds() - cpu
    assert verdict is not None
    outcome = Outcome(
        seconds,
        cpu if verdict.cpu_seconds is None else verdict.cpu_seconds,
        peak_rss_mib() if verdict.peak_rss_mib is None else verdict.peak_rss_mib,
        verdict.durable and job.durable,
        verdict.verified,
        verdict.note,
    )
    check(job, verdict)
    print(json.dumps(asdict(outcome)), flush=True)
    for _ in steps:
        pass


def check(job: Job, verdict: Verdict) -> None:
    """Make sure that what should be on the disk is there and has the right length."""
    for file in job.files if verdict.durable else ():
        found = ((verdict.root or job.dest) / file.path).stat().st_size
        if found != file.size:
            sys.exit(f"{file.path} has {found} bytes instead of {file.size}")


def make_durable(job: Job) -> None:
    """Fsync each file, then each directory; nothing for a job that doesn't ask for it."""
    if not job.durable:
        return
    directories = {job.dest, *(job.place(file).parent for file in job.files)}
    with ThreadPoolExecutor(_FSYNCS) as pool:
        list(pool.map(_fsync, [job.place(file) for file in job.files]))
    for directory in directories:
        _fsync(directory)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cpu_seconds() -> float:
    """Return the processor seconds of this process and its ended children, user and system."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_rss_mib(pid: int | str = "self") -> float:
    """Return the most memory that a process has had resident; 0 if it has ended.

    Not ``ru_maxrss``: a child inherits that from the process that started it.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def _programs(*names: str) -> Callable[[], str]:
    """Say why external programs can't be run, nothing if they can."""
    return lambda: next((f"{name} isn't on the PATH" for name in names if shutil.which(name) is None), "")


def _packages(*names: str) -> Callable[[], str]:
    """Say why Python packages can't be imported, nothing if they can."""
    return lambda: next((f"the package {name} isn't installed" for name in names if not _found(name)), "")


def _found(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _entry(module: str, kinds: set[str], available: Callable[[], str]) -> dict[str, Any]:
    return {"module": f"bench.contenders.{module}", "kinds": kinds, "available": available}


_S3, _BOTH = {"s3"}, {"s3", "http"}


def download_all(manager: Any, job: Job) -> None:
    """Download a job's files by one of boto3's transfer managers."""
    downloads = [manager.download(job.bucket, job.key(file), str(job.place(file))) for file in job.files]
    for download in downloads:
        download.result()


REGISTRY: dict[str, dict[str, Any]] = {
    "csi-model": _entry("node_stage", _S3, _packages()),
    "csi-model-engine": _entry("engine", _BOTH, _packages()),
    "csi-model-ahead": _entry("ahead", _BOTH, _packages()),
    "boto3": _entry("boto3_classic", _S3, _packages("boto3")),
    "boto3-crt": _entry("boto3_crt", _S3, _packages("boto3", "awscrt")),
    "obstore": _entry("obstore_ranges", _BOTH, _packages("obstore")),
    "rclone": _entry("rclone", _BOTH, _programs("rclone")),
    "single-stream": _entry("single_stream", _BOTH, _packages("requests")),
    "curl-1": _entry("curl_1", _BOTH, _programs("curl")),
    "curl-8": _entry("curl_8", _BOTH, _programs("curl")),
    "runai": _entry("runai", _S3, _packages("runai_model_streamer", "runai_model_streamer_s3", "torch")),
}
"""By the name that tables show: the module to run, the kinds of source it can read, and why it can't run here."""
