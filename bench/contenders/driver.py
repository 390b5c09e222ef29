"""A real driver process with its store in a directory, and a kubelet's calls over its socket."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contenders import Job, peak_rss_mib
from csi_model.demo.children import ChildFailed, child, last_words
from csi_model.demo.kubelet import Kubelet, Volume
from csi_model.rpc.admin import AdminClient
from csi_model.rpc.client import CsiClient, Refused

_START = 30.0  # seconds
_WAITING = frozenset({"ABORTED", "DEADLINE_EXCEEDED"})
"""Codes after which a call is repeated; kubelet repeats others too, for ever, and a benchmark should fail then."""
_CPU_FIELDS = slice(11, 13)  # of /proc/PID/stat behind the name: utime and stime, proc(5)


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver that runs: its process, a client that plays kubelet, and its store."""

    process: Any
    kubelet: Kubelet
    store: Path

    def cpu_seconds(self) -> float:
        """Return the processor seconds that it has used, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(field) for field in fields[_CPU_FIELDS]) / os.sysconf("SC_CLK_TCK")

    def peak_rss_mib(self) -> float:
        """Return the most memory that it has had resident."""
        return peak_rss_mib(self.process.pid)

    def status(self) -> dict[str, Any]:
        """Return what ``csi-model status --json`` says."""
        with AdminClient(self.store / "admin.sock") as admin:
            return admin.status()

    def tree(self) -> Path:
        """Return the only staged tree's directory."""
        (found,) = (self.store / "trees").iterdir()
        return found

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait()


@contextmanager
def driver(job: Job, work: Path, *options: str) -> Iterator[Driver]:
    """Run a driver with everything below ``work``; what is there from an earlier one is used again.

    Args:
        job: says which authority to trust and how many streams to use.
        work: a directory with a short path, since sockets lie in it.
        options: more of ``csi-model serve``'s.

    """
    store, socket = work / "store", work / "csi.sock"
    arguments = [
        "serve", "--endpoint", f"unix://{socket}", "--store", store, "--registry", work / "registry",
        "--node-id", "bench", "--streams", str(job.streams), "--high-watermark", "0.99", "--low-watermark", "0.98",
        *(["--ca-bundle", job.ca] if job.ca else []), *options,
    ]  # fmt: skip
    with (
        child("csi_model", *arguments, log=work / "driver.log") as process,
        CsiClient(f"unix://{socket}") as client,
    ):
        try:
            client.probe(timeout=_START)
        except Refused as refused:
            raise ChildFailed(f"the driver didn't start ({refused.code}): {last_words(work / 'driver.log')}") from None
        yield Driver(process, Kubelet(client, work / "kubelet", repeat_after=_WAITING), store)


def volume_of(job: Job, kubelet: Kubelet, name: str = "bench") -> Volume:
    """Make the volume of a job's model."""
    parameters = {"source": f"s3://{job.bucket}/{job.prefix}", "endpoint": job.endpoint}
    secrets = {"accessKeyId": job.access_key, "secretAccessKey": job.secret_key}
    return kubelet.create(name, parameters, secrets=secrets)
