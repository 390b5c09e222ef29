"""runai-model-streamer into memory: nothing is written, so nothing is durable."""

import os
from collections.abc import Iterator

from bench.contenders import Job, Verdict, run
from csi_model.settings import MIB

CONCURRENCY = 8
CHUNK = 8  # MiB
RANGE = 64 * MIB  # handed to the caller at once: about a large tensor


def contend(job: Job) -> Iterator[Verdict | None]:
    os.environ |= {
        "RUNAI_STREAMER_CONCURRENCY": str(CONCURRENCY), "RUNAI_STREAMER_CHUNK_BYTESIZE": str(CHUNK * MIB),
        "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0", "AWS_EC2_METADATA_DISABLED": "true",
        **({"AWS_CA_BUNDLE": job.ca} if job.ca else {}),
    }  # fmt: skip
    from runai_model_streamer import FileChunks, FileStreamer  # noqa: PLC0415 - it reads the variables now
    from runai_model_streamer.s3_utils.s3_utils import S3Credentials  # noqa: PLC0415 - likewise

    rights = S3Credentials(
        access_key_id=job.access_key, secret_access_key=job.secret_key, region_name="us-east-1", endpoint=job.endpoint
    )
    wanted = [
        FileChunks.contiguous(number, f"s3://{job.bucket}/{job.key(file)}", 0, _pieces(file.size))
        for number, file in enumerate(job.files)
    ]
    with FileStreamer() as streamer:
        yield None
        streamer.stream_files(wanted, credentials=rights)
        kept = [tensor for _, _, tensor in streamer.get_chunks()]  # as a loader does, which needs all of them
        got = sum(tensor.numel() for tensor in kept)
        if got != job.size:
            raise SystemExit(f"{got} bytes came instead of {job.size}")
        yield Verdict(note=f"into memory, {CONCURRENCY} at once, chunks of {CHUNK} MiB", durable=False)


def _pieces(size: int) -> list[int]:
    return [min(RANGE, size - start) for start in range(0, size, RANGE)]


if __name__ == "__main__":
    run(contend)
