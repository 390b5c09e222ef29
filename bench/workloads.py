"""What is downloaded: sets of files with random bytes, in a directory for nginx and in a bucket for MinIO."""

import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from bench.servers import ACCESS_KEY, BUCKET, SECRET_KEY, Server
from csi_model.settings import MIB

LARGE = ("one", "shards", "model", "sha256")
"""Workloads in which large files decide."""
NAMES = (*LARGE, "small")
_BLOCK = 16 * MIB
_LARGEST_PUT = 5 * 1024 * MIB
_UPLOADS = 8
_VALID = 6 * 3600  # seconds that a presigned URL works
_STREAMS = 8
_CHECKSUMS = ("ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA256")


@dataclass(frozen=True, slots=True)
class Workload:
    """Files by path and size; with ``sha256`` each is put whole and carries a full SHA-256 in the object store."""

    name: str
    files: tuple[tuple[str, int], ...]
    sha256: bool = False

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(size for _, size in self.files)

    @property
    def large(self) -> bool:
        """Whether large files decide."""
        return self.name in LARGE


def workload(name: str, scale: float = 1.0) -> Workload:
    """Return a workload, its large files' sizes or its small files' number multiplied by ``scale``."""
    shard = _whole_mib(512 * scale)
    match name:
        case "one":
            return Workload(name, (("model.safetensors", _whole_mib(2048 * scale)),))
        case "shards":
            return Workload(name, tuple(_shards(8, shard)))
        case "sha256":
            return Workload(name, tuple(_shards(4, shard)), sha256=True)
        case "small":
            return Workload(name, tuple((f"part-{i:05}.bin", 64 * 1024) for i in range(max(1, round(2000 * scale)))))
        case "model":
            # 20 small files from 1 KiB to 2 MiB, each about half again as large as the one before
            small = [(f"extra/file-{i:02}.json", round(1024 * 2048 ** (i / 19))) for i in range(20)]
            return Workload(name, (*_shards(4, shard), *small))
    raise ValueError(f"unknown workload {name!r}: one of {', '.join(NAMES)}")


def write_files(load: Workload, root: Path) -> None:
    """Write a workload's files below ``root/BUCKET/NAME``, where nginx serves them as an object store would."""
    for path, size in load.files:
        target = root / BUCKET / load.name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        generator = np.random.Generator(np.random.SFC64(zlib.crc32(f"{load.name}/{path}".encode())))
        with target.open("wb") as file:
            for start in range(0, size, _BLOCK):
                file.write(generator.bytes(min(_BLOCK, size - start)))


def upload(load: Workload, root: Path, server: Server) -> str:
    """Put the files that ``write_files`` made into the bucket; returns the checksum algorithm the objects carry.

    Large objects are put in parts as boto3 does, so that they carry a checksum of checksums.
    """
    client = client_of(server)
    if BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)
    # A single put keeps a full checksum: no parts for the workload that is about that
    transfer = TransferConfig(multipart_threshold=_LARGEST_PUT) if load.sha256 else TransferConfig()
    extra = {"ChecksumAlgorithm": "SHA256"} if load.sha256 else {}

    def put(path: str) -> None:
        key = f"{load.name}/{path}"
        client.upload_file(str(root / BUCKET / key), BUCKET, key, ExtraArgs=extra, Config=transfer)

    with ThreadPoolExecutor(1 if load.large else _UPLOADS) as pool:
        list(pool.map(put, (path for path, _ in load.files)))
    head = client.head_object(Bucket=BUCKET, Key=f"{load.name}/{load.files[0][0]}", ChecksumMode="ENABLED")
    client.close()
    return next((k.removeprefix("Checksum").lower() for k in head if k in _CHECKSUMS), "")


def job(load: Workload, server: Server, dest: Path) -> dict[str, Any]:
    """Return what a contender gets to read: where everything is and where it goes."""
    s3 = server.kind == "s3"
    urls = _presigned(load, server) if s3 else (f"{server.url}/{BUCKET}/{load.name}/{path}" for path, _ in load.files)
    return {
        "endpoint": server.url if s3 else "",
        "ca": str(server.ca) if server.ca else None,
        "bucket": BUCKET,
        "prefix": load.name,
        "access_key": ACCESS_KEY if s3 else "",
        "secret_key": SECRET_KEY if s3 else "",
        "files": [{"path": path, "size": size, "url": url} for (path, size), url in zip(load.files, urls, strict=True)],
        "dest": str(dest),
        "streams": _STREAMS,
    }


def client_of(server: Server) -> Any:
    """Make a boto3 client of an object store that runs here."""
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        verify=str(server.ca) if server.ca else None,
        config=Config(s3={"addressing_style": "path"}, signature_version="s3v4"),
    )


def _presigned(load: Workload, server: Server) -> Iterator[str]:
    client = client_of(server)
    for path, _ in load.files:
        parameters = {"Bucket": BUCKET, "Key": f"{load.name}/{path}"}
        yield client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=_VALID)
    client.close()


def _shards(count: int, size: int) -> Iterator[tuple[str, int]]:
    return ((f"model-{i + 1:05}-of-{count:05}.safetensors", size) for i in range(count))


def _whole_mib(mib: float) -> int:
    return max(1, round(mib)) * MIB
