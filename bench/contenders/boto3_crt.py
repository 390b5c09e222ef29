"""boto3's transfers through the AWS Common Runtime, put together as boto3 does, but for an endpoint of one's own."""

from collections.abc import Iterator

from botocore.config import Config
from botocore.credentials import Credentials
from botocore.session import Session
from s3transfer.crt import (
    BotocoreCRTCredentialsWrapper,
    BotocoreCRTRequestSerializer,
    CRTTransferManager,
    create_s3_crt_client,
)

from bench.contenders import Job, Verdict, download_all, make_durable, run
from csi_model.settings import MIB

REGION = "us-east-1"
PART = 8  # MiB
TARGET = 1_250_000_000  # bytes per second that it tries for: this decides how many connections it makes


def contend(job: Job) -> Iterator[Verdict | None]:
    rights = BotocoreCRTCredentialsWrapper(Credentials(job.access_key, job.secret_key))
    client = create_s3_crt_client(
        REGION, rights.to_crt_credentials_provider(), target_throughput=TARGET, part_size=PART * MIB,
        use_ssl=job.endpoint.startswith("https:"), verify=job.ca,
    )  # fmt: skip
    # By name, as the CRT refuses an address.
    place = {"region_name": REGION, "endpoint_url": job.localhost(), "config": Config(s3={"addressing_style": "path"})}
    with CRTTransferManager(client, BotocoreCRTRequestSerializer(Session(), place)) as manager:
        yield None
        download_all(manager, job)
    # A result comes before its file has its name; leaving the manager waits for that.
    make_durable(job)
    yield Verdict(note=f"parts of {PART} MiB, target {TARGET * 8 / 1e9:.0f} Gbit/s")


if __name__ == "__main__":
    run(contend)
