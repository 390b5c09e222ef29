"""The object store of the scenarios: MinIO beside the control plane, and a slow way to it that can be broken."""

import fcntl
import hashlib
import json
import random
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.client import Config
from botocore.exceptions import ClientError
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider

from e2e.cluster import controlplane, place, programs
from e2e.cluster.processes import Process
from e2e.cluster.shell import answers, until
from e2e.slow_way import SlowWay

_PORT, _SLOW_PORT = 9000, 9001
_BLOCK = 1024 * 1024
_FOLDER = place.STATE / "object-store"


@dataclass(frozen=True, slots=True)
class Key:
    """An access key of the store."""

    access: str
    secret: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model that was put: where, and what it should be."""

    bucket: str
    prefix: str
    digests: Mapping[str, str]
    """SHA-256 in hex, by file name."""
    size: int
    """Bytes, all files together."""

    @property
    def source(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


class ObjectStore:
    """MinIO, in the control plane's network: nodes and pods reach it, the machine's network doesn't."""

    endpoint = f"http://{place.CLUSTER_IP}:{_PORT}"
    slow_endpoint = f"http://{place.CLUSTER_IP}:{_SLOW_PORT}"
    """The same store at the rate that `slow` sets."""
    root = Key("e2e-administrator", "e2e-administrator-secret")

    def __init__(self) -> None:
        self._minio, self._slow_way = Process("minio"), _way("slow", _SLOW_PORT)
        self.client = self.client_for(self.root)
        provider = StaticProvider(self.root.access, self.root.secret)
        self._admin = MinioAdmin(endpoint=f"{place.CLUSTER_IP}:{_PORT}", credentials=provider, secure=False)

    # --- Its life ---

    def start(self) -> None:
        """Start what doesn't run of it; TookTooLong."""
        (_FOLDER / "data").mkdir(parents=True, exist_ok=True)
        with (_FOLDER / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # others may share the cluster
            if self._minio.pid is None:
                self._start_minio()
            self._slow_way.open()
            until(lambda: answers(place.CLUSTER_IP, _PORT), "the object store listens", 30)
            until(self._is_ready, "the object store answers", 30)

    def stop(self) -> None:
        """Stop MinIO; its data stay, and the slow way refuses connections in its turn."""
        self._minio.stop(how=signal.SIGKILL)

    def _start_minio(self) -> None:
        settings = {
            "MINIO_ROOT_USER": self.root.access, "MINIO_ROOT_PASSWORD": self.root.secret, "MINIO_BROWSER": "off",
            "MINIO_CI_CD": "on", "HOME": str(_FOLDER), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }  # fmt: skip
        address = f"{place.CLUSTER_IP}:{_PORT}"
        command: list[str | Path] = [programs.minio(), "server", "--quiet", "--address", address, _FOLDER / "data"]
        self._minio.start(controlplane.within(command), _FOLDER / "minio.log", settings)

    def _is_ready(self) -> bool:
        try:
            self.client.list_buckets()
        except (ClientError, OSError):
            return False
        return True

    # --- The slow way ---

    def slow(self, rate: float | None) -> None:
        """Let the slow way pass so many bytes per second, all connections together; None: all it can."""
        self._slow_way.slow(rate)

    def break_slow(self) -> None:
        """Cut the slow way's connections and refuse new ones, until `slow` is called."""
        self._slow_way.break_()

    # --- What it holds ---

    def bucket(self, name: str, *, versioned: bool = False) -> None:
        """Make a bucket, if there is none of this name."""
        with suppress(self.client.exceptions.BucketAlreadyOwnedByYou):
            self.client.create_bucket(Bucket=name)
        if versioned:
            self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    def put_model(self, bucket: str, prefix: str, sizes: Mapping[str, int], *, seed: int = 0) -> Model:
        """Put a model whose bytes follow from the seed and the names.

        Args:
            bucket: where; made, if need be.
            prefix: where in it, without a slash at the end.
            sizes: bytes by file name.
            seed: other seeds give other bytes.

        """
        self.bucket(bucket)
        digests = {}
        for name, size in sizes.items():
            content = model_bytes(f"{seed}/{name}", size)
            self.client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=content, ChecksumAlgorithm="SHA256")
            digests[name] = hashlib.sha256(content).hexdigest()
        return Model(bucket, prefix, digests, sum(sizes.values()))

    # --- Who may read it ---

    def reader(self, name: str, *buckets: str) -> Key:
        """Make an access key that may list and read some buckets, and nothing else."""
        key = Key(name, f"{name}-secret-key")
        self._admin.user_add(key.access, key.secret)
        self.allow(name, *buckets)
        return key

    def allow(self, name: str, *buckets: str) -> None:
        """Set what a reader's key may read."""
        actions = [
            "s3:GetObject",
            "s3:GetObjectVersion",
            "s3:GetObjectAttributes",
            "s3:ListBucket",
            "s3:GetBucketLocation",
        ]
        places = [f"arn:aws:s3:::{bucket}{rest}" for bucket in buckets for rest in ("", "/*")]
        rule = {"Effect": "Allow" if places else "Deny", "Action": actions, "Resource": places or ["arn:aws:s3:::*"]}
        self._admin.policy_add(f"read-{name}", policy={"Version": "2012-10-17", "Statement": [rule]})
        self._admin.policy_set(f"read-{name}", user=name)

    def publish(self, bucket: str) -> None:
        """Let everybody list and read a bucket."""
        actions = ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:GetBucketLocation"]
        places = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        rule = {"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": actions, "Resource": places}
        policy = {"Version": "2012-10-17", "Statement": [{**rule, "Sid": "Everybody"}]}
        self.client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def revoke(self, name: str) -> None:
        """Remove a reader's key."""
        self._admin.user_remove(name)

    def client_for(self, key: Key, endpoint: str = endpoint) -> Any:
        """Return a boto3 client with a key."""
        config = Config(
            connect_timeout=2, read_timeout=30, retries={"max_attempts": 1}, s3={"addressing_style": "path"}, proxies={}
        )
        return boto3.client(
            "s3", endpoint_url=endpoint, aws_access_key_id=key.access, aws_secret_access_key=key.secret,
            region_name="us-east-1", config=config,
        )  # fmt: skip


@contextmanager
def way(name: str, port: int) -> Iterator[SlowWay]:
    """Yield another way to the store, open until the end of the block; 9001 is the shared one's port."""
    found = _way(name, port)
    found.open()
    try:
        yield found
    finally:
        found.close()


def _way(name: str, port: int) -> SlowWay:
    return SlowWay(name, port, target=_PORT, folder=_FOLDER)


def model_bytes(seed: str, size: int) -> bytes:
    """Return bytes that look random and follow from the seed."""
    return random.Random(seed).randbytes(size)


def logs() -> list[Path]:
    return sorted(_FOLDER.glob("*.log"))
