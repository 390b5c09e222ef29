"""curl, as scripts use it: one stream, or eight.

Eight streams are eight files at once where there are that many, and otherwise eight ranges of each large file, every
one written by a curl of its own to where it belongs. URLs go in through standard input, since they are signed.
"""

import os
from collections.abc import Iterator

from bench.contenders import File, Job, Verdict, make_durable
from bench.contenders.programs import run_program, run_together
from csi_model.settings import MIB

STREAMS = 8
_LARGE = 8 * MIB  # a smaller file isn't worth eight ranges


def contend_with(streams: int, job: Job) -> Iterator[Verdict | None]:
    trust = f'cacert = "{job.ca}"\n' if job.ca else ""
    large = [file for file in job.files if file.size >= _LARGE]
    split = large if streams > 1 and len(large) < streams else []
    whole = [file for file in job.files if file not in split]
    yield None
    peak = max(
        [_fetch_whole(whole, streams, trust, job), *(_fetch_ranges(file, streams, trust, job) for file in split)]
    )
    make_durable(job)
    how = f"{streams} ranges of each large file" if split else f"{streams} files at once" if streams > 1 else "1 stream"
    yield Verdict(note=how, peak_rss_mib=peak)


def _fetch_whole(files: list[File], streams: int, trust: str, job: Job) -> float:
    if not files:
        return 0.0
    wanted = trust + "".join(f'url = "{file.url}"\noutput = "{job.place(file)}"\n' for file in files)
    parallel = ["--parallel", "--parallel-max", str(streams), "--parallel-immediate"] if streams > 1 else []
    return run_program(["curl", "-q", "--silent", "--show-error", "--fail", *parallel, "--config", "-"], says=wanted)


def _fetch_ranges(file: File, streams: int, trust: str, job: Job) -> float:
    step = -(-file.size // streams)
    starts = range(0, file.size, step)
    place = job.place(file)
    outputs = [os.open(place, os.O_WRONLY | os.O_CREAT, 0o644) for _ in starts]
    try:
        for start, output in zip(starts, outputs, strict=True):
            os.lseek(output, start, os.SEEK_SET)
        says = [
            f'{trust}url = "{file.url}"\nrange = "{start}-{min(start + step, file.size) - 1}"\n' for start in starts
        ]
        command = ["curl", "-q", "--silent", "--show-error", "--fail", "--no-buffer", "--config", "-"]
        return run_together([command] * len(starts), says, outputs)
    finally:
        for output in outputs:
            os.close(output)


def one(job: Job) -> Iterator[Verdict | None]:
    return contend_with(1, job)


def eight(job: Job) -> Iterator[Verdict | None]:
    return contend_with(STREAMS, job)
