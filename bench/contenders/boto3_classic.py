"""boto3's own transfers: one transfer manager for all files."""

from collections.abc import Iterator

import boto3
from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.config import Config

from bench.contenders import Job, Verdict, download_all, make_durable, run
from csi_model.settings import MIB

CONCURRENCY = 8
PART = 8  # MiB
PIECE = 1  # MiB that are read and written at once


def contend(job: Job) -> Iterator[Verdict | None]:
    client = boto3.client(
        "s3", endpoint_url=job.endpoint, aws_access_key_id=job.access_key, aws_secret_access_key=job.secret_key,
        region_name="us-east-1", verify=job.ca,
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=2 * CONCURRENCY),
    )  # fmt: skip
    config = TransferConfig(
        max_concurrency=CONCURRENCY, multipart_threshold=PART * MIB, multipart_chunksize=PART * MIB,
        io_chunksize=PIECE * MIB, preferred_transfer_client="classic",
    )  # fmt: skip
    with create_transfer_manager(client, config) as manager:
        yield None
        download_all(manager, job)
        make_durable(job)
        yield Verdict(note=f"{CONCURRENCY} threads, parts of {PART} MiB, pieces of {PIECE} MiB")


if __name__ == "__main__":
    run(contend)
