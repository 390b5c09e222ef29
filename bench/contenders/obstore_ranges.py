"""obstore (Rust's object_store): ranges into memory by several threads, written where they belong."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from obstore import get_range
from obstore.store import HTTPStore, S3Store

from bench.contenders import File, Job, Verdict, make_durable, run
from csi_model.settings import MIB

THREADS = 8
SPAN = 8  # MiB


def contend(job: Job) -> Iterator[Verdict | None]:
    store = store_of(job)
    with ThreadPoolExecutor(THREADS) as pool:

        def fetch(file: File, descriptor: int, start: int) -> None:
            end = min(start + SPAN * MIB, file.size)
            key = job.key(file) if job.endpoint else file.path
            os.pwrite(descriptor, get_range(store, key, start=start, end=end), start)

        def download(files: list[File]) -> None:
            opened = {file: os.open(job.place(file), os.O_WRONLY | os.O_CREAT, 0o644) for file in files}
            spans = [(file, at, start) for file, at in opened.items() for start in range(0, file.size, SPAN * MIB)]
            try:
                list(pool.map(lambda span: fetch(*span), spans))
            finally:
                for descriptor in opened.values():
                    os.close(descriptor)

        yield None
        for first in range(0, len(job.files), 256):  # so many files are open at most
            download(list(job.files[first : first + 256]))
        make_durable(job)
        yield Verdict(note=f"{THREADS} threads, ranges of {SPAN} MiB")


def store_of(job: Job) -> Any:
    options = {"allow_http": True} | ({"root_certificate": Path(job.ca).read_text()} if job.ca else {})
    if not job.endpoint:
        return HTTPStore.from_url(job.base, client_options=options)
    return S3Store(
        job.bucket, endpoint=job.endpoint, region="us-east-1", access_key_id=job.access_key,
        secret_access_key=job.secret_key, virtual_hosted_style_request=False, client_options=options,
    )  # fmt: skip


if __name__ == "__main__":
    run(contend)
