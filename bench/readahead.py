"""What the read-ahead gains: the first full read of a staged tree whose pages are cold, with and without it.

    python -m bench.readahead [--gib 2] [--rounds 5] [--head-start 0 1 2] [--dir DIR] [--json FILE]

Files of 1 GiB are written to DIR once. Before each run their pages are taken out of the page cache (and the kernel is
asked whether they are out). Then the read-ahead begins, as at NodePublish, and ``head-start`` seconds later a loader in
another process begins to read in file order; a container's start takes about 1 to 5 s, and 0 is the worst case. Runs
with and without read-ahead alternate. Loaders:

    mmap     maps each file and touches each byte, 1 MiB at a time, in one thread (safetensors)
    pread    preads 1 MiB at a time, in one thread
    threads  preads 1 MiB at a time, in 4 threads that share the files' order

Shown per loader and head start: the median seconds of the loader's own reading without and with read-ahead, their
ratio, the ratio of pod start + reading (the head start counts in both), and what was in memory when the loader began.
"""

import argparse
import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.memory import forget_files, part_in_memory
from csi_model.node.readahead import ReadAhead
from csi_model.settings import MIB, PageCacheSettings

_FILE = 1024 * MIB
_BLOCK = 16 * MIB
_NONE = 0.001  # of the files; the rest is a page or two that something else looked at


def load_mmap(files: list[Path]) -> None:
    for path in files:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            scratch = bytearray(MIB)
            with memoryview(mapped) as view:
                for offset in range(0, len(view), MIB):
                    with view[offset : offset + MIB] as part:
                        scratch[: len(part)] = part


def load_pread(files: list[Path]) -> None:
    _read_pieces(_pieces(files), threading.Lock())


def load_threads(files: list[Path]) -> None:
    pieces, lock = _pieces(files), threading.Lock()
    with ThreadPoolExecutor(4) as pool:
        for reader in [pool.submit(_read_pieces, pieces, lock) for _ in range(4)]:
            reader.result()


def _pieces(files: list[Path]) -> Iterator[tuple[Path, int]]:
    for path in files:
        for offset in range(0, path.stat().st_size, MIB):
            yield path, offset


def _read_pieces(pieces: Iterator[tuple[Path, int]], lock: threading.Lock) -> None:
    scratch = bytearray(MIB)
    opened: dict[Path, int] = {}
    try:
        while True:
            with lock:
                piece = next(pieces, None)
            if piece is None:
                return
            path, offset = piece
            if path not in opened:
                opened[path] = os.open(path, os.O_RDONLY)
            os.preadv(opened[path], [scratch], offset)
    finally:
        for fd in opened.values():
            os.close(fd)


LOADERS: dict[str, Callable[[list[Path]], None]] = {"mmap": load_mmap, "pread": load_pread, "threads": load_threads}


def write_files(directory: Path, gib: int) -> list[Path]:
    block = mmap.mmap(-1, _BLOCK)  # aligned, as O_DIRECT wants
    files = [directory / f"model-{number:05}.safetensors" for number in range(gib)]
    for path in files:
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_DIRECT, 0o644)
        try:
            for offset in range(0, _FILE, _BLOCK):
                block[:] = os.urandom(MIB) * (_BLOCK // MIB)
                os.pwrite(fd, block, offset)
            os.fsync(fd)
        finally:
            os.close(fd)
    return files


def drop(files: list[Path]) -> None:
    for _ in range(20):
        forget_files(files)
        if part_in_memory(files) < _NONE:
            return
        time.sleep(0.1)  # somebody still has them mapped, or they are being read
    raise SystemExit("the page cache doesn't let go of the files")


def one_run(files: list[Path], loader: str, *, read_ahead: bool, head_start: float) -> tuple[float, float]:
    """Return the loader's seconds, and how much was in memory when it began."""
    drop(files)
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.readahead", "--load", loader, "--dir", str(files[0].parent)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    ahead = ReadAhead(PageCacheSettings("auto" if read_ahead else "never"))
    try:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        ahead.want("bench", "volume", files[0].parent)
        time.sleep(head_start)
        warm = part_in_memory(files)
        seconds, _ = child.communicate("\n")
        return float(seconds), warm
    finally:
        ahead.close()
        child.stdin.close()
        child.wait()


def be_loader(directory: Path, loader: str) -> None:
    files = sorted(directory.iterdir())
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    LOADERS[loader](files)
    print(time.perf_counter() - began)


def compare(files: list[Path], loader: str, head_start: float, rounds: int) -> dict[str, object]:
    cold, ahead, warm = [], [], []
    for number in range(rounds):
        for read_ahead in (False, True) if number % 2 else (True, False):
            seconds, share = one_run(files, loader, read_ahead=read_ahead, head_start=head_start)
            (ahead if read_ahead else cold).append(seconds)
            if read_ahead:
                warm.append(share)
    without, with_it = statistics.median(cold), statistics.median(ahead)
    return {
        "loader": loader, "head_start_s": head_start, "cold_s": without, "ahead_s": with_it,
        "cold_all_s": cold, "ahead_all_s": ahead, "ratio": without / with_it,
        "ratio_with_start": (without + head_start) / (with_it + head_start), "in_memory": statistics.median(warm),
    }  # fmt: skip


def measure(directory: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    files = write_files(directory, options.gib)
    rows = []
    print(f"{options.gib} GiB, {options.rounds} rounds, medians")
    print("loader   head start   cold     ahead    ratio  with start  in memory")
    for head_start in options.head_start:
        for loader in options.loader:
            row = compare(files, loader, head_start, options.rounds)
            rows.append(row)
            print(
                f"{loader:8} {head_start:6.1f} s  {row['cold_s']:6.2f} s  {row['ahead_s']:6.2f} s  "
                f"{row['ratio']:6.2f}  {row['ratio_with_start']:6.2f}  {row['in_memory']:9.0%}",
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=int, default=2, help="files of 1 GiB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--head-start", type=float, nargs="+", default=[0.0, 1.0, 2.0], help="seconds")
    parser.add_argument("--loader", nargs="+", choices=list(LOADERS), default=list(LOADERS))
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"), help="on the disk to measure")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    parser.add_argument("--load", choices=list(LOADERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        be_loader(options.dir, options.load)
        return
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="readahead-") as directory:
        rows = measure(Path(directory), options)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
