"""Sets the demo up, plays it, and takes everything away again."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from csi_model.core.units import bytes_text
from csi_model.demo.children import ChildFailed, child, held_back, last_words, s3_server, upload
from csi_model.demo.kubelet import Kubelet
from csi_model.demo.model import Model, make_model, revise
from csi_model.demo.play import Play
from csi_model.demo.report import report
from csi_model.demo.watching import Watch
from csi_model.errors import StoreFull
from csi_model.node.linux_mounts import LinuxMounts
from csi_model.rpc.client import CsiClient, Refused

_BUCKET, _PREFIX = "models", "llama-demo"
_WAITING = frozenset({"ABORTED", "DEADLINE_EXCEEDED"})
"""Codes after which the demo goes on as kubelet would; kubelet would repeat the others too, and nobody would look."""
_STARTING = 20.0  # seconds that the driver has to answer its first probe; it needs less than one


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to show.

    Attributes:
        size: bytes of the model to make.
        parameters: a StorageClass's, for a model of one's own; empty for one that the demo makes.
        secrets: the CSI secrets for it.
        below: directory to work in; None for the system's temporary one.
        keep: whether to leave the working directory.

    """

    size: int
    parameters: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    below: Path | None = None
    keep: bool = False


def run_demo(wanted: Wanted, console: Console) -> None:
    """Play the demo in a mount namespace of our own (enter it before).

    Raises:
        CsiModelError: something didn't work; everything is taken away all the same.

    """
    with ExitStack() as stack:
        directory = stack.enter_context(_directory(wanted, console))
        model, url = None, ""
        if not wanted.parameters:
            console.print(f"Making a model of about {bytes_text(wanted.size)} and an S3 server that holds it")
            model = make_model(directory / "model", wanted.size)
            url = stack.enter_context(s3_server(directory, _BUCKET))
            upload(url, _BUCKET, _PREFIX, model.files)
            _expect(directory / "expected-1.json", model)
        console.print("Starting the driver: `csi-model serve --mode all`, as a cluster runs it")
        client = stack.enter_context(_driver(directory))
        kubelet = Kubelet(
            client, directory / "kubelet", repeat_after=_WAITING, on_refusal=lambda refusal: _tell(console, refusal)
        )
        watch = Watch(console, directory / "store/admin.sock", client.close)
        parameters = wanted.parameters or {
            "source": f"s3://{_BUCKET}/{_PREFIX}", "endpoint": url, "auth": "anonymous",
        }  # fmt: skip
        play = Play(
            kubelet, watch, console, parameters=parameters, secrets=wanted.secrets, pod_log=directory / "pods.log"
        )
        _perform(play, console, directory, model, url)
        report(console, play.acts, own_model=model is None)


def _perform(play: Play, console: Console, directory: Path, model: Model | None, url: str) -> None:
    first = directory / "expected-1.json" if model else None
    console.print("1  Cold start: a claim, a pod, a node that has never seen the model")
    volume, target = play.new_volume("cold start", "claim-1", "pod-1")
    play.check(target, first)
    console.print("2  A second pod on the same node")
    play.another_pod("second pod", volume, "pod-2")
    console.print("3  Another claim of the same model, say of another team")
    _, other = play.new_volume("second volume", "claim-2", "pod-3")
    play.check(other, first)
    if model is not None:
        console.print(f"4  A new revision: one of {len(model.expected)} shards changed")
        path, newer = revise(model)
        upload(url, _BUCKET, _PREFIX, [path])
        _expect(directory / "expected-2.json", newer)
        _, latest = play.new_volume("new revision", "claim-3", "pod-4")
        play.check(latest, directory / "expected-2.json")
        console.print("    The first pod still has its own revision:")
        play.check(target, first)
    console.print(f"{5 if model else 4}  The pods end, the claims are deleted")
    play.take_away()


@contextmanager
def _directory(wanted: Wanted, console: Console) -> Iterator[Path]:
    with ExitStack() as stack:
        with held_back():
            directory = Path(tempfile.mkdtemp(prefix="csi-model-demo-", dir=wanted.below))
            stack.callback(_take_away, directory, console, keep=wanted.keep)
        free = shutil.disk_usage(directory).free
        needed = 0 if wanted.parameters else 4 * wanted.size  # as made, as uploaded, as staged, and the new revision
        if free < needed:
            raise StoreFull(
                f"the demo needs {bytes_text(needed)} and {directory.parent} has {bytes_text(free)}: "
                "say a smaller --size, or set TMPDIR to a larger disk"
            )
        yield directory


def _take_away(directory: Path, console: Console, *, keep: bool) -> None:
    with held_back():
        mounts = LinuxMounts()
        for target in [target for target in mounts.table() if target.is_relative_to(directory)]:
            mounts.unmount(target)
        if keep:
            console.print(f"Kept {directory}: look with `csi-model status --store {directory}/store`", soft_wrap=True)
        else:
            shutil.rmtree(directory)


@contextmanager
def _driver(directory: Path) -> Iterator[CsiClient]:
    endpoint, log = f"unix://{directory}/csi.sock", directory / "driver.log"
    for name in ("registry", "kubelet"):
        (directory / name).mkdir()
    arguments = (
        "serve", "--mode", "all", "--endpoint", endpoint, "--node-id", "demo-node", "--store", directory / "store",
        "--registry", directory / "registry",
        "--high-watermark", "0.98", "--low-watermark", "0.97",  # this disk isn't kubelet's
    )  # fmt: skip
    with child("csi_model", *arguments, log=log), CsiClient(endpoint) as client:
        try:
            client.probe(timeout=_STARTING)
        except Refused:
            raise ChildFailed(f"the driver didn't start: {last_words(log)}") from None
        yield client


def _expect(path: Path, model: Model) -> None:
    path.write_text(json.dumps(model.expected))


def _tell(console: Console, refusal: Refused) -> None:
    console.print(f"    {refusal.code}, as kubelet shows it in the pod's events: {refusal.text}", markup=False)
