"""rclone mount: the object store as a FUSE file system, which a pod reads directly."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contenders import Job
from bench.contenders.rclone import remote, settings

_PATIENCE = 20.0  # seconds for a mount to appear, and to go
_LOOK = 0.005  # seconds between two looks: nothing tells when a mount is there
_OPTIONS = {
    "full": ["--vfs-read-ahead", "256M", "--vfs-read-chunk-size", "128M", "--buffer-size", "16M"],
    "off": ["--vfs-read-chunk-size", "128M", "--buffer-size", "64M"],
}
"""By ``--vfs-cache-mode``; others (parallel chunks, other sizes) did no better than these beyond their spread."""


class MountFailed(Exception):
    """The mount didn't appear; the text has rclone's last words."""


@contextmanager
def mounted(job: Job, work: Path, mode: str) -> Iterator[Path]:
    """Mount a job's model in a directory below ``work``; needs fusermount3 and /dev/fuse.

    Args:
        job: where the model lies.
        work: for the mount and rclone's cache.
        mode: ``full`` keeps on disk what was read, ``off`` keeps nothing.

    """
    target, log = work / "mounted", work / "rclone.log"
    target.mkdir()
    command = [
        "rclone", "mount", remote(job), str(target), "--read-only", "--vfs-cache-mode", mode, "--cache-dir",
        str(work / "rclone"), "--max-read-ahead", "1M", "--dir-cache-time", "1h", *_OPTIONS[mode],
        *(["--ca-cert", job.ca] if job.ca else []),
    ]  # fmt: skip
    with log.open("w") as errors:
        process = subprocess.Popen(command, env={**os.environ, **settings(job)}, stderr=errors)
    try:
        _wait_for(target, process, log)
        yield target
    finally:
        process.terminate()  # it unmounts then
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if target.is_mount():
            subprocess.run(["fusermount3", "-u", "-z", str(target)], check=False)


def _wait_for(target: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not target.is_mount():
        if process.poll() is not None or time.monotonic() > deadline:
            words = log.read_text().strip().splitlines()[-1:] or ["it said nothing"]
            raise MountFailed(f"rclone can't mount here: {words[0]}")
        time.sleep(_LOOK)
