"""rclone copy, from S3 or from plain HTTP; configured through its environment, where its keys are nobody else's."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.contenders import Job, Verdict, make_durable, run
from bench.contenders.programs import run_program

TRANSFERS = 8
STREAMS = 8
CUTOFF = "64M"
PIECE = "64M"


def contend(job: Job) -> Iterator[Verdict | None]:
    with TemporaryDirectory() as scratch:
        listing = Path(scratch) / "files"
        listing.write_text("".join(f"{file.path}\n" for file in job.files))
        command = [
            "rclone", "copy", remote(job), str(job.dest), "--files-from-raw", str(listing), "--no-traverse",
            "--transfers", str(TRANSFERS), "--checkers", str(TRANSFERS), "--ignore-checksum", "--inplace",
            "--multi-thread-streams", str(STREAMS), "--multi-thread-cutoff", CUTOFF, "--multi-thread-chunk-size", PIECE,
            "--no-check-dest", "--log-level", "ERROR", *(["--ca-cert", job.ca] if job.ca else []),
        ]  # fmt: skip
        yield None
        peak = run_program(command, environment=settings(job))
        make_durable(job)
        yield Verdict(
            note=f"{TRANSFERS} transfers, {STREAMS} streams per file, pieces of {PIECE}B, no checksums",
            peak_rss_mib=peak,
        )


def remote(job: Job) -> str:
    """Name where the files lie, in rclone's words."""
    return f"src:{job.bucket}/{job.prefix}" if job.endpoint else "src:"


def settings(job: Job) -> dict[str, str]:
    """Return the variables that tell rclone of the remote ``src``."""
    kind = {"TYPE": "http", "URL": job.base}
    if job.endpoint:
        kind = {
            "TYPE": "s3", "PROVIDER": "Minio", "ENDPOINT": job.endpoint, "ACCESS_KEY_ID": job.access_key,
            "SECRET_ACCESS_KEY": job.secret_key, "NO_CHECK_BUCKET": "true",
        }  # fmt: skip
    return {"RCLONE_CONFIG": "/dev/null", **{f"RCLONE_CONFIG_SRC_{name}": value for name, value in kind.items()}}


if __name__ == "__main__":
    run(contend)
