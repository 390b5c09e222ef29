"""What huggingface_hub does: whole files by one GET each through requests, in pieces of 10 MiB, eight files at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import requests

from bench.contenders import File, Job, Verdict, make_durable, run
from csi_model.settings import MIB

PIECE = 10 * MIB
FILES_AT_ONCE = 8


def contend(job: Job) -> Iterator[Verdict | None]:
    with requests.Session() as session, ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        session.verify = job.ca or True

        def download(file: File) -> None:
            with session.get(file.url, stream=True, timeout=60) as answer, job.place(file).open("wb") as out:
                answer.raise_for_status()
                for piece in answer.iter_content(PIECE):
                    out.write(piece)

        yield None
        list(pool.map(download, job.files))
        make_durable(job)
        yield Verdict(note=f"requests, 1 stream per file, up to {FILES_AT_ONCE} files at once, pieces of 10 MiB")


if __name__ == "__main__":
    run(contend)
